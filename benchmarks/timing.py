"""Timing that a shared machine cannot spoil (variants in turn, medians, processor time on a CPU), and tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import torch

from bench.models.registry import build
from bench.suite.config import load_models

Work = Callable[[], object]


def now(device: str) -> float:
    """Return seconds: processor time of this process on a CPU, else the clock once the device is done."""
    if not device.startswith("cuda"):
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def medians(works: Sequence[Work], device: str = "cpu", rounds: int = 7, calls: int = 1) -> list[float]:
    """Return the median seconds of one call of each work: all in turn, ``calls`` at a time, after a warm-up round."""
    times: list[list[float]] = [[] for _ in works]
    for turn in range(rounds + 1):
        for work, taken in zip(works, times, strict=True):
            began = now(device)
            for _ in range(calls):
                work()
            if turn:
                taken.append((now(device) - began) / calls)
    return [statistics.median(taken) for taken in times]


def preset(name: str, device: str) -> tuple[torch.nn.Module, tuple[int, int, int]]:
    """Return a preset's network with its own image size, and the shape (C, H, W) of its images."""
    row = load_models()[name]
    shape = (row.channels, row.image_size, row.image_size)
    return built(name, row.image_size, row.channels).to(device), shape


def built(name: str, side: int, channels: int) -> torch.nn.Module:
    """Return a preset's network for images of any side and channels."""
    return build(load_models()[name].spec(name), side, channels)


def parser(text: str | None) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark takes: a device and a number of rounds; one CPU thread."""
    torch.set_num_threads(1)
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--rounds", type=int, default=5, help="timed rounds; the median counts (default: 5)")
    made.add_argument("--out", type=Path, help="also write the rows as JSON into this file, as they come")
    return made


class Table:
    """A Markdown table under a line that says where and when; each row is printed, and written to ``out``, as it comes."""

    def __init__(self, arguments: argparse.Namespace, columns: list[str], **about: object) -> None:
        self.out, self.columns = arguments.out, columns
        self.record: dict = {"where": where(arguments.device), **about, "rows": []}
        print(self.record["where"], *(f"{key} {value}" for key, value in about.items()), sep=", ", end="\n\n")
        print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns), flush=True)

    def add(self, *cells: object) -> None:
        """Print and keep a row, one cell for each column."""
        self.record["rows"].append(dict(zip(self.columns, cells, strict=True)))
        print(
            "| " + " | ".join(f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells) + " |",
            flush=True,
        )
        if self.out is not None:
            self.out.write_text(json.dumps(self.record, indent=1) + "\n", encoding="utf-8")


def where(device: str) -> str:
    """Return device, torch version and date in words."""
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name()
    else:
        name = f"{platform.machine()} CPU, {torch.get_num_threads()} of {os.cpu_count()} threads"
    return f"{name}, torch {torch.__version__}, {date.today().isoformat()}"
