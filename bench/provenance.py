"""Which code a result depends on, and where and when it was made.

The fingerprint of a result is the hash of the import closure of its entry points, read through the
syntax tree: comments, docstrings and formatting do not count.  Options travel beside it (the resolved
run), and so do library versions (in the environment), so neither is part of the fingerprint.
"""

from __future__ import annotations

import ast
import datetime
import functools
import hashlib
import importlib.metadata
import os
import platform
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench.errors import BenchError

ROOT = Path(__file__).resolve().parent.parent
_BEGAN = time.time()  # of this process, but for the interpreter's start
# Options are compared by value; the rest says, lists, schedules or records, and cannot change a number.
LEFT_OUT = {
    "bench",
    "bench.options",
    "bench.config",
    "bench.provenance",
    "bench.console",
    "bench.errors",
    "bench.paths",
    "bench.planned",
    "bench.tidy",
    "bench.models.families",
}


def fingerprint(*entries: str) -> str:
    """Return the code fingerprint (16 hex digits) of module names or paths of Python files."""
    text = "\n".join(f"{name} {hash_}" for name, hash_ in sorted(module_hashes(*entries).items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def module_hashes(*entries: str) -> dict[str, str]:
    """Return the normalised hash of every module in the import closure of ``entries``."""
    waiting, found = list(entries), {}
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in found or path is None or (name in LEFT_OUT and name not in entries):
            continue
        found[name] = hashlib.sha256("".join(definition_hashes(path).values()).encode()).hexdigest()[:16]
        waiting += _imports(path)
    return found


def _file(name: str) -> Path | None:
    if name.endswith(".py"):
        return Path(name)
    path = ROOT.joinpath(*name.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


@functools.cache
def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} cannot be read as Python ({error}); mend the file.") from error


@functools.cache
def _imports(path: Path) -> tuple[str, ...]:
    """Return the names of the project's modules that a file imports, anywhere in it."""
    names: list[str] = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(n for n in names if n.startswith("bench.") and _file(n) is not None)


@functools.cache
def definition_hashes(path: Path) -> dict[str, str]:
    """Return the normalised hash of each top-level definition of a file, in order; other lines as 'top level'."""
    hashes: dict[str, str] = {}
    loose: list[str] = []
    for node in _tree(path).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            hashes[node.name] = hashlib.sha256(_normal(node).encode()).hexdigest()[:16]
        elif not _is_text(node):
            loose.append(_normal(node))
    return {**hashes, "top level": hashlib.sha256("".join(loose).encode()).hexdigest()[:16]}


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _normal(node: object) -> str:
    """Return a text of a syntax tree that does not depend on positions, docstrings or the Python version."""
    if isinstance(node, ast.AST):
        fields = (
            (name, value) for name, value in ast.iter_fields(node) if name not in ("kind", "type_comment")
        )
        inner = ",".join(f"{name}={_normal(value)}" for name, value in fields if value not in (None, []))
        return f"{type(node).__name__}({inner})"
    if isinstance(node, list):
        return "[" + ",".join(_normal(item) for item in node if not _is_text(item)) + "]"
    return repr(node)


def definitions(*entries: str) -> dict[str, dict[str, str]]:
    """Return module -> definition -> hash of the closure, the record that ``bench why`` compares with."""
    return {name: definition_hashes(_file(name)) for name in sorted(module_hashes(*entries))}


def changes(old: dict[str, dict[str, str]], new: dict[str, dict[str, str]]) -> list[str]:
    """Name each definition that differs between two records of :func:`definitions`."""
    found = []
    for module in sorted({*old, *new}):
        before, after = old.get(module), new.get(module)
        if before is None or after is None:
            found.append(f"{module} ({'new' if before is None else 'gone'})")
            continue
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name):
                found.append(f"{module}: {name}")
    return found


def environment(device: str = "cpu") -> dict:
    """Return machine, versions, commit, date and job of this process, as JSON values."""
    versions = {"python": platform.python_version()}
    for package in ("torch", "torchvision", "numpy", "scipy", "pandas", "clean-fid", "submitit", "snakemake"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **machine(device),
        "versions": versions,
        "git": _git(),
        "job": job(device),
    }


def machine(device: str = "cpu") -> dict:
    """Return host, processor, device and driver."""
    return {
        "host": socket.gethostname(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "device": _device_name(device),
        "driver": _ask("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0")
        if device.startswith("cuda")
        else None,
    }


def job_id() -> str | None:
    """Return the id of the Slurm job (ARRAY_TASK for a member of an array) or local job; None by hand."""
    known = os.environ
    if "SLURM_ARRAY_TASK_ID" in known:
        return f"{known['SLURM_ARRAY_JOB_ID']}_{known['SLURM_ARRAY_TASK_ID']}"
    return known.get("SLURM_JOB_ID") or known.get("SUBMITIT_LOCAL_JOB_ID")


def job(device: str = "cpu") -> dict:
    """Return id, restarts, seconds in the queue and at work, and peak memory (MiB) of this process so far.

    The time in the queue is that of this start under the executor plugin, None by hand.
    """
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", 0))
    submitted = os.environ.get("SUBMITIT_SUBMIT_TIME")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "id": job_id(),
        "restarts": restarts,
        "queue_seconds": round(_BEGAN - float(submitted), 1) if submitted else None,
        "compute_seconds": round(time.time() - _BEGAN, 1),
        "peak_memory_mib": round(peak / (2**20 if sys.platform == "darwin" else 2**10)),
        "peak_device_memory_mib": _device_memory(device),
    }


def _device_memory(device: str) -> int | None:
    if not device.startswith("cuda"):
        return None
    import torch

    return round(torch.cuda.max_memory_allocated(device) / 2**20)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def _device_name(device: str) -> str:
    if not device.startswith("cuda"):
        return "cpu"
    import torch

    return f"{torch.cuda.get_device_name(device)} (CUDA {torch.version.cuda})"


def _git() -> dict:
    at = ("git", "-C", str(ROOT))
    status = _ask(*at, "status", "--porcelain", "--untracked-files=no", "--", "bench")
    return {"commit": _ask(*at, "rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def _ask(*words: str) -> str | None:
    """Return what a command prints, None where it cannot be run or fails."""
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
