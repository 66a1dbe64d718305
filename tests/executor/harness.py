"""A workflow of shell jobs in an empty folder, and a Snakemake that can be watched and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
STAND_IN = Path(__file__).with_name("stand_in.py")
# The shell jobs count steps in state/, as a training does; `version` travels in params
SNAKEFILE = """
localrules: all, last

rule all:
    input: "last.txt"

rule last:
    input: expand("out/{n}.txt", n=range(int(config.get("jobs", 2))))
    output: "last.txt"
    shell: "cat {input} > {output}"

rule train:
    input: "first.txt"
    output: "out/{n}.txt"
    log: "logs/{n}.log"
    params: version=config.get("version", "a"), fail=config.get("fail", "none")
    resources: runtime=int(config.get("runtime", 30))
    shell: "test {wildcards.n} != {params.fail} || {{ echo no luck > {log}; exit 3; }}; "
           "exec SCRIPT {output} STEPS SECONDS {params.version} > {log} 2>&1"

rule first:
    output: "first.txt"
    shell: "echo first > {output}"
"""


class Workflow:
    """One folder with a Snakefile; ``start`` runs Snakemake in it, ``run`` also waits."""

    def __init__(self, folder: Path, cluster: str, options: tuple[str, ...] = ()) -> None:
        self.folder, self.cluster, self.options = folder, cluster, options
        self.target = "all"
        self.started: list[subprocess.Popen] = []

    def write(self, steps: int, seconds: float) -> None:
        """Write the Snakefile with trainings of so many steps of so many seconds."""
        text = SNAKEFILE.replace("SCRIPT", f"{sys.executable} {STAND_IN}")
        text = text.replace("STEPS", str(steps)).replace("SECONDS", str(seconds))
        (self.folder / "Snakefile").write_text(text)

    def start(self, *arguments: str, **config: object) -> subprocess.Popen:
        """Start Snakemake; its output goes to the file ``outer.log``."""
        command = [sys.executable, "-m", "snakemake", self.target, "--executor", "submitit", "--jobs", "20"]
        command += ["--submitit-cluster", self.cluster, "--seconds-between-status-checks", "1"]
        command += ["--rerun-incomplete", "--latency-wait", "5", *self.options, *arguments]
        if config:
            command += ["--config", *(f"{name}={value}" for name, value in config.items())]
        with (self.folder / "outer.log").open("a") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                # a background job of a shell ignores SIGINT, and children inherit that
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self.started.append(process)
        return process

    def run(self, *arguments: str, timeout: float = 200, **config: object) -> int:
        """Run Snakemake and return its exit status."""
        return self.start(*arguments, **config).wait(timeout)

    def unlock(self) -> subprocess.CompletedProcess:
        """Remove the lock that a killed Snakemake left, as `make unlock` does; its trainings may live on."""
        command = [sys.executable, REPOSITORY / "workflow/unlock.py"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True)

    def end(self) -> None:
        """Kill whatever is left of it."""
        for process in self.started:
            process.kill()
            process.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    @property
    def log(self) -> str:
        return (self.folder / "outer.log").read_text()

    def journal(self, n: int) -> list[list[str]]:
        """Return the words of the journal of training n: (start or step, number, pid)."""
        path = self.folder / "state" / f"{n}.journal"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def starts(self, n: int) -> list[int]:
        """Return the first step of each start of training n."""
        return [int(words[1]) for words in self.journal(n) if words[0] == "start"]

    def processes(self) -> list[int]:
        """Return the pids of all stand-ins that train for this workflow."""
        found = []
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = line.read_bytes().split(b"\0")
                if str(STAND_IN).encode() in words and (line.parent / "cwd").resolve() == self.folder:
                    found.append(int(line.parent.name))
            except OSError:
                continue
        return found


def wait_for(what: Callable[[], object], seconds: float = 120) -> None:
    """Wait until ``what()`` is true; fail with its text otherwise."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.1)
