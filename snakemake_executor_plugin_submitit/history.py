"""What became of each start of each job, written on the node; ``python -m snakemake_executor_plugin_submitit.history``.

One file of lines for each job, in submitit's folder. A line is one start: job, name, host, time in the queue apart from
time at work, peak memory, and how it ended. Needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ENDING = "starts.jsonl"


class Start:
    """One start of a job: a line when it begins, and the same line with its end; ``file`` None writes nothing."""

    def __init__(self, file: Path | None, name: str, job: str, restarts: int, submitted: float) -> None:
        self.file = file
        self.line = {
            "job": job,
            "name": name,
            "host": socket.gethostname(),
            "restarts": restarts,
            "began": time.time(),
            "queue_seconds": round(max(0.0, time.time() - submitted), 1),
        }

    def begin(self) -> None:
        """Say that it began: a start that is killed leaves no more than this."""
        self._write(self.line)

    def end(self, exit_reason: str, waited: bool = True) -> None:
        """Say how it ended; ``peak_memory_mib`` is that of the largest process below this one.

        Neither memory nor CPU time is known of a command that nobody has ``waited`` for, as after a warning signal.
        """
        work = {"compute_seconds": round(time.time() - self.line["began"], 1)}
        if waited:
            below = resource.getrusage(resource.RUSAGE_CHILDREN)
            work["cpu_seconds"] = round(below.ru_utime + below.ru_stime, 1)
            work["peak_memory_mib"] = round(below.ru_maxrss / 2**10)
        self._write({**self.line, **work, "exit": exit_reason})

    def _write(self, line: dict) -> None:
        if self.file is not None:
            with contextlib.suppress(OSError), self.file.open("a") as file:  # a record must not fail a job
                file.write(json.dumps(line) + "\n")


def submitted_again(job: str) -> float | None:
    """Return when Slurm put a requeued job back into the queue, None where it does not say."""
    try:
        command = ["scontrol", "show", "job", "-o", job]
        text = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        found = next(word for word in text.split() if word.startswith("SubmitTime="))
        return datetime.datetime.fromisoformat(found.partition("=")[2]).timestamp()
    except (OSError, subprocess.SubprocessError, StopIteration, ValueError):
        return None


def starts(folder: Path) -> Iterator[dict]:
    """Yield every start that the folder knows of, by job and time; one without an end was killed, or still runs."""
    for file in sorted(folder.glob(f"*_{ENDING}")):
        lines: dict[float, dict] = {}
        for text in file.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # a line that a full disk cut off
                line = json.loads(text)
                lines[line["began"]] = line
        yield from sorted(lines.values(), key=lambda line: line["began"])


def main(words: list[str]) -> int:
    """Print all starts, or those of jobs whose name holds the second word; 1 where there are none."""
    folder = Path(words[0] if words else ".snakemake/submitit")
    found = [line for line in starts(folder) if len(words) < 2 or words[1] in line["name"]]
    print(f"{'job':>10} {'start':>5} {'queue s':>9} {'work s':>9} {'MiB':>7}  host  name: exit")
    for line in found:
        work, peak = line.get("compute_seconds", ""), line.get("peak_memory_mib", "")
        end = line.get("exit", "killed, or still at work")
        numbers = (
            f"{line['job']:>10} {line['restarts'] + 1:>5} {line['queue_seconds']:>9} {work:>9} {peak:>7}"
        )
        print(f"{numbers}  {line['host']}  {line['name']}: {end}")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
