"""A stand-in for a training: counts steps, saves now and then and on a signal, goes on from where it saved.

    python stand_in.py OUTPUT STEPS SECONDS_PER_STEP [PARAMETER]

The "weights" are a chain of hashes, so a step that is lost or done twice shows in the output. The two newest
checkpoints and a journal (a line for each start and each step) lie in ``state/``.
"""

import contextlib
import hashlib
import os
import signal
import sys
import time
from pathlib import Path

EVERY = 10  # steps between two checkpoints


def advance(weights: str, step: int) -> str:
    """Return the weights after one more step."""
    return hashlib.sha256(f"{weights} {step}".encode()).hexdigest()


def load(paths: list[Path]) -> tuple[int, str]:
    """Return step and weights of the newest whole checkpoint, or the start."""
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            step, weights, _ = path.read_text().split()  # a truncated one has fewer than three words
            return int(step), weights
    return 0, "start"


def save(paths: list[Path], step: int, weights: str) -> None:
    """Replace the newest checkpoint and keep the one before."""
    temporary = paths[0].with_suffix(".new")
    temporary.write_text(f"{step} {weights} end")
    if paths[0].exists():
        paths[0].replace(paths[1])
    temporary.replace(paths[0])


def main() -> None:
    """Train from the newest checkpoint to the last step; exit with status 75 when interrupted."""
    output, steps, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    state = Path("state", output.stem)
    state.parent.mkdir(exist_ok=True)
    paths = [state.with_suffix(".last"), state.with_suffix(".before")]
    came: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, lambda got, frame: came.append(got))
    first, weights = load(paths)
    with state.with_suffix(".journal").open("a", buffering=1) as journal:
        journal.write(f"start {first} {os.getpid()}\n")
        for step in range(first, steps):
            time.sleep(seconds)
            weights = advance(weights, step)
            journal.write(f"step {step} {os.getpid()}\n")
            if came or (step + 1) % EVERY == 0:
                save(paths, step + 1, weights)
            if came:
                print(f"saved step {step + 1} after signal {came[0]}", flush=True)
                sys.exit(75)
    save(paths, steps, weights)
    output.write_text(f"{steps} {weights} {' '.join(sys.argv[4:])}\n")


if __name__ == "__main__":
    main()
