"""Remove the lock that a killed Snakemake left; refuse while one still plans or submits in this folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from snakemake_executor_plugin_submitit.records import Owner


def running(folder: Path) -> str:
    """Describe the living Snakemake that owns ``folder``; "" if there is none.

    The Snakemakes inside of its jobs (``--mode remote``) may live on without it: the next one takes them up.
    """
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        called = any(Path(word).name == "snakemake" for word in words[:3])
        if called and "--mode" not in words and process.info["cwd"] == str(folder):
            return f"process {process.pid}"
    return Owner(folder / ".snakemake/submitit").other()


def main() -> int:
    """Unlock the current folder; return 1 if the owner of the lock lives."""
    if owner := running(Path.cwd().resolve()):
        print(f"Snakemake still runs here: {owner}. Wait for it or stop it first.", file=sys.stderr)
        return 1
    snakemake = Path(sys.executable).parent / "snakemake"
    return subprocess.run([snakemake, "--unlock", "--cores", "1"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
