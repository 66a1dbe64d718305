"""Which commit holds the code that runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from bench.support.paths import ROOT


def state() -> dict:
    """Return ``commit``, ``dirty`` and, where git cannot vouch for the running code, None for both with the ``reason``.

    The commit counts only if it belongs to the repository of this very folder; ``dirty`` says that some module of
    ``bench/`` is not, byte for byte, in that commit, whether git ignores it or not.
    """
    top = _git("rev-parse", "--show-toplevel")
    if top.returncode:
        doubtful = "dubious ownership" in top.stderr
        owner = f"git distrusts the owner of the folder: `git config --global --add safe.directory {ROOT}`"
        return _unknown(owner if doubtful else "the code is not in a git repository")
    if Path(top.stdout.strip()).resolve() != ROOT:
        return _unknown("the code lies inside another project's git repository")
    head = _git("rev-parse", "--verify", "HEAD")
    if head.returncode:
        return _unknown("the git repository has no commit")
    return {"commit": head.stdout.strip(), "dirty": bool(uncommitted((ROOT / "bench").rglob("*.py")))}


def _unknown(reason: str) -> dict:
    return {"commit": None, "dirty": None, "reason": reason}


def uncommitted(files: Iterable[Path]) -> list[Path]:
    """Return those of these files whose bytes are not at their place in the last commit of this repository."""
    inside: list[Path] = []
    outside: list[Path] = []
    for file in files:
        path = Path(file).resolve()
        (inside if path.is_relative_to(ROOT) else outside).append(path)
    listed = _git("ls-tree", "-r", "-z", "HEAD").stdout.split("\0")
    blobs = {path: entry.split()[2] for entry, _, path in (line.partition("\t") for line in listed if line)}
    hashes = _git("hash-object", "--stdin-paths", text="".join(f"{path}\n" for path in inside)).stdout.split()
    names = [path.relative_to(ROOT).as_posix() for path in inside]
    if len(hashes) != len(inside):  # a file that git cannot read
        return [*inside, *outside]
    changed = [p for p, name, hash_ in zip(inside, names, hashes) if blobs.get(name) != hash_]
    return [*changed, *outside]


def holds(commit: str) -> bool:
    """Return whether this repository has the commit, and the commit has this code."""
    return not _git("cat-file", "-e", f"{commit}:bench/__init__.py").returncode


def _git(*words: str, text: str = "") -> subprocess.CompletedProcess:
    # GIT_DIR and its like, which a hook sets, would lead to another repository
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-C", str(ROOT), *words]
    try:
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=60, env=environment
        )
    except (OSError, subprocess.SubprocessError) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
