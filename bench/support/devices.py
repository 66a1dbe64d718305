"""One GPU for each process on a machine with several: the first that no other of this user's processes has taken.

Snakemake counts GPUs (``--resources gpus=2`` and one per job) but does not say which; nor does Slurm inside an
interactive allocation of several. The locks here do.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import socket
import time
from pathlib import Path

from bench.support.console import say
from bench.support.errors import BenchError

VARIABLE = "CUDA_VISIBLE_DEVICES"
_held: list[socket.socket] = []  # open for as long as the process lives; the kernel frees the locks with it


def visible() -> list[str]:
    """Return the names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them.

    As CUDA reads them, names end before the first that is invalid (``-1``, ``NoDevFiles``).
    """
    if VARIABLE in os.environ:
        names = (name.strip() for name in os.environ[VARIABLE].split(","))
        return list(
            itertools.takewhile(lambda name: name[:1].isdigit() or name[:4] in ("GPU-", "MIG-"), names)
        )
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def claim(seconds: float = 1.0) -> str | None:
    """Leave one free GPU visible and return its name; wait while all are taken, looking again at this interval.

    Does nothing (and returns None) where there are fewer than two GPUs, as in a Slurm job that asked for one, and the
    second time. Must be called before CUDA is used.
    """
    names = visible()
    if len(names) < 2:
        return None
    told = False
    while (name := next(filter(_take, names), None)) is None:
        if not told:
            say(f"All {len(names)} GPUs are taken by other processes of yours; waiting for one.")
        told = True
        time.sleep(seconds)
    os.environ[VARIABLE] = name
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # the order in which the names count
    return name


def _take(name: str) -> bool:
    """Lock a GPU of this machine by a socket's abstract name, which needs no file and accepts any device name.

    Within one Slurm job devices may be numbered from 0, so that its id belongs to the name.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0bench-gpu {os.getuid()} {os.environ.get('SLURM_JOB_ID', '')} {name}")
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise BenchError(f"{VARIABLE}: GPU {name} cannot be locked: {error.strerror}") from None
        return False
    _held.append(lock)
    return True


def torch_device(device: str | None, threads: int) -> str:
    """Fix the threads and the precision of measurements; return the device, a GPU of its own if there are several.

    Raises BenchError for anything but ``cpu`` and ``cuda``, and if a CUDA device is asked for that there is not.
    """
    if device is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise BenchError(f"--device {device}: there is no such device; use cpu, cuda, or cuda:NUMBER.")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if device in (None, "cuda"):
        claim()
    import torch

    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BenchError(f"--device {device}: this machine has no CUDA device; use --device cpu.")
    number = int(device.partition(":")[2] or 0)
    if number >= max(torch.cuda.device_count(), 1):
        raise BenchError(f"--device {device}: this process sees {torch.cuda.device_count()} CUDA devices.")
    return device


def name_of(device: str) -> str:
    """Return the name of a device, ``cpu`` for a processor."""
    if not device.startswith("cuda"):
        return "cpu"
    import torch

    return f"{torch.cuda.get_device_name(device)} (CUDA {torch.version.cuda})"


def peak_memory(device: str) -> int | None:
    """Return the most memory that this process had on a GPU so far, in MiB; None for a processor."""
    if not device.startswith("cuda"):
        return None
    import torch

    return round(torch.cuda.max_memory_allocated(device) / 2**20)
