"""Where and when a result was made: machine, versions, commit, job."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench.support import devices, git

_BEGAN = time.time()  # of this process, except for the start of the interpreter


def environment(device: str = "cpu") -> dict:
    """Return machine, versions, commit, date and job of this process, as JSON values."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("torch", "torchvision", "numpy", "scipy", "pandas", "clean-fid", "submitit", "snakemake"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **machine(device),
        "versions": versions,
        "git": git.state(),
        "job": job(device),
    }


def machine(device: str = "cpu") -> dict:
    """Return host, processor, device and driver."""
    return {
        "host": socket.gethostname(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cpu_capability": _capability(),
        "cores": os.cpu_count(),
        "device": devices.name_of(device),
        "driver": _ask("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0")
        if device.startswith("cuda")
        else None,
    }


def job_id() -> str | None:
    """Return the id of the Slurm job (ARRAY_TASK for a member of an array) or local job; None outside jobs."""
    known = os.environ
    if "SLURM_ARRAY_TASK_ID" in known:
        return f"{known['SLURM_ARRAY_JOB_ID']}_{known['SLURM_ARRAY_TASK_ID']}"
    return known.get("SLURM_JOB_ID") or known.get("SUBMITIT_LOCAL_JOB_ID")


def job(device: str = "cpu") -> dict:
    """Return id, restarts, seconds in the queue and at work, and peak memory (MiB) of this process so far.

    The time in the queue is that of this start under the executor plugin, None outside it.
    """
    restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    submitted = os.environ.get("SUBMITIT_SUBMIT_TIME")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "id": job_id(),
        "restarts": restarts,
        "queue_seconds": round(_BEGAN - float(submitted), 1) if submitted else None,
        "compute_seconds": round(time.time() - _BEGAN, 1),
        "peak_memory_mib": round(peak / (2**20 if sys.platform == "darwin" else 2**10)),
        "peak_device_memory_mib": devices.peak_memory(device),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def _capability() -> str | None:
    """Return the instruction set that torch computes with, say AVX2: where it differs, so do the last digits."""
    torch = sys.modules.get("torch")  # imported by whatever computes
    return torch.backends.cpu.get_cpu_capability() if torch else None


def _ask(*words: str) -> str | None:
    """Return what a command prints, None if it cannot be run or fails."""
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
