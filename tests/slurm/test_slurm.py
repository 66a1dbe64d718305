"""What only a real Slurm shows. Stand-ins train, but for the handful of faults; BENCH_SLOW=1 adds the long tests."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from campaign import NODE, Wave, kill_step_daemons
from harness import Workflow, wait_for
from trainings import prepare

from snakemake_executor_plugin_submitit.history import starts

pytestmark = pytest.mark.slurm


def queue(*options: str, name: str = "train") -> list[str]:
    """Return the ids of the jobs in the queue, array members one by one."""
    command = ["squeue", "-h", "-r", "-o", "%i", "-n", name, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def tell(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def running(flow: Workflow, count: int) -> list[str]:
    """Wait until so many trainings run, and return their job ids."""
    wait_for(lambda: len(flow.processes()) == count, 200)
    return queue("-t", "running")


def test_real_trainings_survive_a_handful_of_faults(slurm, tmp_path, monkeypatch):
    """Same bits, nothing trained twice beyond the last checkpoint, no stray job; campaign.py does this by the dozen."""
    monkeypatch.setenv("BENCH_CONFIG", "")  # both are set for the jobs, and set back here
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    wanted = prepare(tmp_path, 200, [10])
    wave = Wave(tmp_path / "wave", slurm, tmp_path / "calm", wanted, random.Random(0))
    names = ["SIGKILL of the training", "SIGKILL of Snakemake", "checkpoint truncated", "pre-emption"]
    try:
        wave.run_through(names)
        assert wave.injected.total() >= 3  # a fast machine may be done before the last
        assert wave.verdict() == [], wave.flow.log[-5000:]
        exits = [start["exit"] for run in wanted for start in wave.flow.attempts(run)]
        assert len(exits) >= 3 and exits[-1] == "done"
    finally:
        wave.end()


OUT_OF_MEMORY = """
rule big:
    output: "big.txt"
    log: "big.log"
    shell: "PYTHON -c 'import time; x = bytearray(400 * 2**20); time.sleep(4)' > {log} 2>&1 && touch {output}"
"""


def test_out_of_memory_is_named_and_tried_again_with_more_up_to_a_bound(workflow):
    flow = workflow()
    (flow.folder / "Snakefile").write_text(OUT_OF_MEMORY.replace("PYTHON", sys.executable))
    flow.target = "big.txt"
    more = ["--default-resources", "mem_mb=min(attempt * 300, 900)", "--retries", "3"]
    assert flow.run(*more, timeout=300) == 0, flow.log
    assert flow.log.count("Error in rule big") == 1
    assert "big: " in flow.log and "more memory than mem_mb allows" in flow.log
    assert "mem_mb=300" in flow.log and "mem_mb=600" in flow.log and "mem_mb=900" not in flow.log


def test_requeue_of_an_array_member_goes_on_from_its_saved_step(workflow, slow):
    flow = workflow(steps=60, seconds=0.1)
    outer = flow.start(jobs=2)
    ids = running(flow, 2)
    assert sorted(one.split("_")[1] for one in ids) == ["0", "1"]  # one array for both
    tell("scontrol", "requeue", next(one for one in ids if one.endswith("_1")))
    assert outer.wait(200) == 0
    assert "Error in rule" not in flow.log
    once, twice = sorted((flow.starts(n) for n in (0, 1)), key=len)
    assert [len(once), len(twice)] == [1, 2] and twice[1] > 0
    assert not queue()


def test_interrupt_cancels_ours_and_only_ours(workflow, tmp_path):
    flow = workflow(steps=1000, seconds=0.1)
    other = subprocess.run(
        ["sbatch", "--parsable", "-J", "train", "-o", "/dev/null", "--wrap", "sleep 100"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout.strip()
    outer = flow.start(jobs=2)
    running(flow, 2)
    outer.terminate()
    outer.wait(100)
    wait_for(lambda: queue() == [other], 60)
    tell("scancel", other)
    assert not list((flow.folder / ".snakemake/submitit/running").iterdir())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--default-resources", "slurm_partition=nowhere"], "invalid partition"),
        (["--set-resources", "train:gpus=3"], "Requested node configuration is not available"),
    ],
)
def test_refused_submission_is_said_before_anything_runs(workflow, arguments, text):
    flow = workflow()
    assert flow.run(*arguments, jobs=2) == 1
    assert text in flow.log and "Change their resources in the profile" in flow.log
    assert not (flow.folder / "first.txt").exists()


def test_a_percent_sign_in_the_folder_of_jobs_is_refused_and_one_in_the_projects_is_not(workflow, tmp_path):
    """Slurm takes it for a pattern in the names of logs."""
    flow = workflow()
    flow.folder = tmp_path / "100%j"
    flow.folder.mkdir()
    flow.write(3, 0.05)
    assert flow.run(jobs=1) == 1
    assert "as a pattern in the names of logs; choose a folder without it" in flow.log
    assert flow.run("--submitit-folder", str(tmp_path / "jobs"), jobs=1) == 0, flow.log


def test_a_node_that_restarts_is_waited_for(workflow):
    """Slurm would refuse, and says the same of a request that no node can ever meet."""
    tell("scontrol", "update", f"NodeName={NODE}", "State=DOWN", "Reason=test")
    flow = workflow()
    outer = flow.start(jobs=1)
    wait_for(lambda: "Select jobs to execute" in flow.log)
    time.sleep(1)
    tell("scontrol", "update", f"NodeName={NODE}", "State=RESUME")
    assert outer.wait(200) == 0


@contextmanager
def controller_away(slurm):
    """End slurmctld; it is started again afterwards."""
    pid = int((slurm / "slurmctld.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 60)
    try:
        yield
    finally:
        tell("slurmctld")


@pytest.mark.parametrize("begun", [True, False])
def test_a_controller_that_is_away_is_waited_for(workflow, slurm, slow, begun):
    """When jobs become ready, and before the first submission; no attempt is lost."""
    flow = workflow()
    if begun:
        snakefile = flow.folder / "Snakefile"
        snakefile.write_text(snakefile.read_text().replace("echo first", "sleep 10; echo first"))
        outer = flow.start(jobs=2)
        wait_for(lambda: list(starts(flow.folder / ".snakemake/submitit")))
    with controller_away(slurm):
        if not begun:
            outer = flow.start(jobs=2)
        wait_for(lambda: "this is not a failed attempt" in flow.log)
        time.sleep(5)
    assert outer.wait(200) == 0
    assert "Error in rule" not in flow.log and "in the profile" not in flow.log
    assert [flow.starts(n) for n in (0, 1)] == [[0], [0]] and not queue()


def test_a_waiting_job_runs_what_was_submitted_whatever_the_files_say(workflow):
    flow = workflow(steps=12)
    outer = flow.start("--set-resources", "train:slurm_extra='--hold'", jobs=1, version="a")
    wait_for(queue)
    (flow.folder / "Snakefile").write_text("this is (no Snakefile at the moment\n")
    tell("scontrol", "release", *queue())
    assert outer.wait(100) == 0
    assert (flow.folder / "out/0.txt").read_text().startswith("12 ")
    assert (flow.folder / "out/0.txt").read_text().endswith(" a\n")
    flow.write(steps=5, seconds=0.05)  # what it left is out of date, once the plan has moved on
    flow.start("-n", jobs=1, version="b").wait(100)
    assert "Params have changed" in flow.log


def test_a_job_whose_success_was_seen_leaves_the_queue(workflow, slurm, slow):
    """Both of its step daemons are killed: the training goes on and succeeds, and Slurm believes that it runs."""
    flow = workflow(steps=60, seconds=0.1)
    outer = flow.start(jobs=1)
    running(flow, 1)
    wait_for(lambda: len(flow.journal(0)) > 5)
    assert kill_step_daemons(slurm, queue()[0])
    assert outer.wait(200) == 0
    assert not queue("-t", "running,pending")
    assert len(flow.starts(0)) == 1


@contextmanager
def mounted(folder, *options):
    folder.mkdir(parents=True, exist_ok=True)
    tell("mount", *options, str(folder))
    try:
        yield folder
    finally:
        tell("umount", "-l", str(folder))


def fill(folder):
    with (folder / "filler").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(512))


def test_a_full_submission_folder_is_named(workflow, tmp_path, slow):
    flow = workflow(steps=30, seconds=0.1)
    with mounted(tmp_path / "jobs", "-t", "tmpfs", "-o", "size=512k", "tmpfs") as folder:
        outer = flow.start("--submitit-folder", "jobs", jobs=1)
        running(flow, 1)
        fill(folder)
        wait_for(lambda: f"{folder} cannot be written: No space left on device." in flow.log, 60)
        outer.wait(60)
        (folder / "filler").unlink()
        assert flow.run("--submitit-folder", "jobs", jobs=1) == 0


def test_results_wait_until_snakemake_can_record_them(workflow, tmp_path, slow):
    flow = workflow(steps=30, seconds=0.1)
    with mounted(tmp_path / ".snakemake", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as folder:
        outer = flow.start("--submitit-folder", "jobs", jobs=1)
        running(flow, 1)
        fill(folder)
        wait_for(lambda: "wait until Snakemake can record them" in flow.log, 60)
        (folder / "filler").unlink()
        assert outer.wait(60) == 0
        assert "Error" not in flow.log and len(flow.starts(0)) == 1


def test_a_folder_of_logs_that_cannot_be_written_is_named(workflow, tmp_path, slow):
    flow = workflow()
    with mounted(tmp_path / "logs", "-t", "tmpfs", "-o", "ro", "tmpfs"):
        assert flow.run(jobs=1) == 1
    assert "train n=0: logs/0.log cannot be written: Read-only file system" in flow.log
    assert not re.search(r"\S *For further error details", flow.log)


def test_killed_snakemake_attaches_and_notices_a_scancel(workflow):
    flow = workflow(steps=120, seconds=0.1)
    outer = flow.start(jobs=2)
    ids = running(flow, 2)
    outer.kill()
    outer.wait()
    flow.unlock()
    outer = flow.start("--retries", "1", jobs=2)
    wait_for(lambda: flow.log.count("Attached to job") == 2)
    tell("scancel", ids[0])
    assert outer.wait(200) == 0
    assert "cancelled from outside" in flow.log
    once, twice = sorted((flow.starts(n) for n in (0, 1)), key=len)
    assert [len(once), len(twice)] == [1, 2]
    assert twice[1] > 0  # the retry went on from the saved step
    assert not queue()


def test_arrays_are_split_at_the_sites_maximum_and_limited(workflow):
    flow = workflow()
    outer = flow.start("--submitit-array-limit", "2", "--set-resources", "train:slurm_extra='--hold'", jobs=8)
    command = ["squeue", "-h", "-n", "train", "-o", "%K"]
    wait_for(lambda: len(queue()) == 8, 200)
    arrays = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert sorted(arrays) == ["0-1%2", "0-5%2"]  # the test cluster takes six
    outer.terminate()
    outer.wait(100)
    assert not queue()


def check_one_restart(flow, outer):
    """Wait for the end; the training went on from a checkpoint, and Snakemake saw no error."""
    assert outer.wait(300) == 0
    assert "Error in rule" not in flow.log
    assert len(flow.starts(0)) == 2 and flow.starts(0)[1] > 0
    assert not queue()


def test_a_hung_job_is_requeued_when_it_does_not_answer(workflow, slow):
    flow = workflow(steps=60, seconds=0.1)
    outer = flow.start("--submitit-signal-delay", "12", jobs=1)
    running(flow, 1)
    wait_for(lambda: len(flow.journal(0)) > 15)
    os.kill(flow.processes()[0], signal.SIGSTOP)
    tell("scancel", "--signal=USR2", *queue())
    check_one_restart(flow, outer)


def test_a_lost_node_costs_no_more_than_a_checkpoint(workflow, slow):
    flow = workflow(steps=60, seconds=0.1)
    outer = flow.start(jobs=1)
    running(flow, 1)
    wait_for(lambda: len(flow.journal(0)) > 15)
    tell("scontrol", "update", f"NodeName={NODE}", "State=DOWN", "Reason=test")
    wait_for(lambda: not flow.processes())
    tell("scontrol", "update", f"NodeName={NODE}", "State=RESUME")
    check_one_restart(flow, outer)


def test_preemption_by_a_job_that_goes_first(workflow, slow):
    flow = workflow(steps=60, seconds=0.1)
    outer = flow.start(jobs=1)
    running(flow, 1)
    wait_for(lambda: len(flow.journal(0)) > 15)
    tell("sbatch", "-p", "urgent", "-c", "8", "--mem=1", "-o", "/dev/null", "--wrap", "sleep 1")
    check_one_restart(flow, outer)


def test_a_real_time_limit_saves_and_goes_on(workflow, slow):
    """Two minutes, warned 40 s before the end; Slurm may warn up to a minute early."""
    flow = workflow(steps=1000, seconds=0.1)
    outer = flow.start(jobs=1, runtime=2)
    assert outer.wait(600) == 0
    steps = flow.starts(0)
    assert "Error in rule" not in flow.log and len(steps) > 1 and steps == sorted(set(steps))
    history = [sys.executable, "-m", "snakemake_executor_plugin_submitit.history"]
    said = subprocess.run(history, cwd=flow.folder, capture_output=True, text=True, check=True).stdout
    assert said.count("train n=0: warning signal, saved") == len(steps) - 1 and "train n=0: done" in said


def test_a_full_disk_is_named_and_the_retry_goes_on(workflow, slow):
    flow = workflow(steps=60, seconds=0.1)
    state = flow.folder / "state"
    state.mkdir()
    tell("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(state))
    try:
        outer = flow.start("--retries", "30", jobs=1)
        running(flow, 1)
        wait_for(lambda: len(flow.journal(0)) > 15)
        filler = state / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(bytes(1024))
        wait_for(lambda: "No space left on device" in flow.log, 60)
        filler.unlink()
        assert outer.wait(300) == 0
        assert flow.log.count("train n=0: ") >= 1
    finally:
        tell("umount", "-l", str(state))
