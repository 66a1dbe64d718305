"""What a GPU does with this code, in a bounded time: ``python benchmarks/gpu.py --minutes 8 --out FOLDER``.

Each part runs in a process of its own, the most valuable first, and is stopped when its time is over, so that none
costs another its result: the tests marked ``cuda``, training steps of the paper's networks, attention in windows. Logs
and JSON rows land in FOLDER. The suite ``pilot`` is trained and measured by ``bench pieces --suite pilot``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

HERE = Path(__file__).parent
TESTS = sorted((HERE.parent / "tests").rglob("test_*_on_cuda.py"))
STEPS = [HERE / "steps.py", "--device", "cuda", "--precision", "bfloat16", "--rounds", "3", "--batch", "64"]
FASTER = ["--ways", "loop", "captured", "compiled"]
# part -> (share of the time, command)
PARTS: dict[str, tuple[float, list]] = {
    "tests": (0.25, ["-m", "pytest", *TESTS, "-q", "-rfE", "--tb=short", "-p", "no:cacheprovider"]),
    "steps-dit-s1": (0.2, [*STEPS, "--models", "dit-s1", "--ways", "plain", "loop", "captured", "compiled"]),
    "steps-local": (0.15, [*STEPS, "--models", "dit-s1-local", *FASTER]),
    "steps-others": (
        0.2, [*STEPS, "--models", "unet-an2024", "dit-xs1", "dit-s32", "unet-s32", "--ways", "plain", "loop", "captured"],
    ),
    "attention": (
        0.2, [HERE / "attention.py", "--device", "cuda", "--batch", "64", "--sides", "32", "16", "--precision", "bfloat16",
              "float32"],
    ),
}  # fmt: skip


def main() -> None:
    """Parse the arguments and run the parts one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8, help="time for all parts (default: 8)")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="folder for the results (default: gpu)")
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("skipped: there is no CUDA device")
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for part in arguments.parts:
        share, command = PARTS[part]
        code, seconds = run(part, command, 60 * arguments.minutes * share, arguments.out)
        print(f"{part}: exit {code} after {seconds:.0f} s", flush=True)


def run(part: str, command: list, limit: float, out: Path) -> tuple[int | str, float]:
    """Run one part, its output in OUT/PART.txt; print the end of it; return the exit status and the seconds."""
    began, log = time.monotonic(), out / f"{part}.txt"
    words = [sys.executable, *map(str, command)]
    if part != "tests":
        words += ["--out", str(out / f"{part}.json")]
    code: int | str
    with log.open("w", encoding="utf-8") as file:
        try:
            code = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT, timeout=limit).returncode
        except subprocess.TimeoutExpired:
            code = "stopped"
    print("\n".join(["", f"## {part}", *log.read_text(encoding="utf-8").splitlines()[-20:]]), flush=True)
    return code, time.monotonic() - began


if __name__ == "__main__":
    main()
