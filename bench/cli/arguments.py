"""Arguments that several verbs share."""

from __future__ import annotations

import argparse
import os

from bench.support import devices
from bench.support.errors import BenchError


def add_suite(parser: argparse.ArgumentParser) -> None:
    """Add ``--suite``."""
    parser.add_argument("--suite", default="demo", help="suite of config/suites (default: demo)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", help="torch device (default: cuda where there is one, else cpu)")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add RUN and ``--suite``."""
    parser.add_argument("name", metavar="RUN", help="run, as `bench plan` lists it")
    add_suite(parser)


def torch_device(device: str | None, threads: int) -> str:
    """Fix the threads and the precision of measurements; return the device, a GPU of its own where there are several.

    Raises BenchError where a CUDA device is asked for and there is none.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if device in (None, "cuda"):
        devices.claim()
    import torch

    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BenchError(f"--device {device}: this machine has no CUDA device; use --device cpu.")
    return device
