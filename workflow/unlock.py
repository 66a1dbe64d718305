"""Remove the lock that a killed Snakemake left; refuse while one still runs in this folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def running(folder: Path) -> list[int]:
    """Return the process ids of Snakemakes whose current folder is ``folder`` (Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            here = (process / "cwd").resolve() == folder
        except OSError:
            continue
        if here and any(Path(word.decode(errors="replace")).name == "snakemake" for word in words[:3]):
            found.append(int(process.name))
    return found


def main() -> int:
    """Unlock the current folder; return 1 where the owner of the lock lives."""
    if owners := running(Path.cwd().resolve()):
        print(
            f"Snakemake still runs here (process {owners[0]}); wait for it or stop it first.", file=sys.stderr
        )
        return 1
    snakemake = Path(sys.executable).parent / "snakemake"
    return subprocess.run([snakemake, "--unlock", "--cores", "1"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
