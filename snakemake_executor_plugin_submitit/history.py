"""What became of each start of each job: ``python -m snakemake_executor_plugin_submitit.history [FOLDER [NAME]]``.

A job notes in its own log, on its node, when it began and how it ended: restarts, time in the queue apart from time at
work, processor time, peak memory. Needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

NOTE = "@submitit "  # begins a line of notes in a job's log


def note(**words: object) -> None:
    """Write a line of notes; a full disk must not end a job."""
    with contextlib.suppress(OSError):
        print(f"\n{NOTE}{json.dumps(words)}", flush=True)


def starts(folder: Path) -> Iterator[dict]:
    """Yield every start that the logs of a folder know of; one without an end was killed, or still runs."""
    for file in sorted(folder.glob("*_0_log.out")):
        found: dict[float, dict] = {}
        with file.open(errors="replace") as lines:
            for text in lines:
                if text.startswith(NOTE):
                    with contextlib.suppress(ValueError, KeyError):  # a line that a full disk cut off
                        line = json.loads(text.removeprefix(NOTE))
                        found[line["began"]] = {"job": file.name.removesuffix("_0_log.out"), **line}
        yield from found.values()


def main(words: list[str]) -> int:
    """Print all starts, or those of jobs whose name holds the second word; 1 if there are none."""
    folder = Path(words[0] if words else ".snakemake/submitit")
    found = [line for line in starts(folder) if len(words) < 2 or words[1] in line["name"]]
    row = "{job:>10} {restarts:>8} {queue_seconds:>9} {compute_seconds:>9} {peak_memory_mib:>7}  {host}  {name}: {exit}"
    unknown = {"compute_seconds": "", "peak_memory_mib": "", "exit": "killed, or still at work"}
    titles = ("job", "restarts", "queue s", "work s", "MiB", "host", "name", "exit")
    names = ("job", "restarts", "queue_seconds", "compute_seconds", "peak_memory_mib", "host", "name", "exit")
    for line in [dict(zip(names, titles)), *found]:
        print(row.format(**unknown | line))
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
