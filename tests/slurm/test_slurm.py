"""What only a real Slurm shows: arrays, requeue, scancel, refusals, and accounting that does not answer."""

from __future__ import annotations

import subprocess

import pytest
from harness import Workflow, wait_for

pytestmark = pytest.mark.slurm


def queue(*options: str) -> list[str]:
    """Return the ids of the jobs in the queue, array members one by one."""
    command = ["squeue", "-h", "-r", "-o", "%i", "-n", "train", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def tell(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def running(flow: Workflow, count: int) -> list[str]:
    """Wait until so many trainings run, and return their job ids."""
    wait_for(lambda: len(flow.processes()) == count, 40)
    return queue("-t", "running")


def test_requeue_of_an_array_member_goes_on_from_its_saved_step(workflow):
    flow = workflow(steps=60, seconds=0.1)
    outer = flow.start(jobs=2)
    ids = running(flow, 2)
    assert sorted(one.split("_")[1] for one in ids) == ["0", "1"]  # one array for both
    tell("scontrol", "requeue", next(one for one in ids if one.endswith("_1")))
    assert outer.wait(60) == 0
    assert "Error in rule" not in flow.log
    starts = sorted((flow.starts(n) for n in (0, 1)), key=len)
    assert [len(one) for one in starts] == [1, 2] and starts[1][1] > 0
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
    outer.wait(30)
    wait_for(lambda: queue() == [other], 20)
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
    assert text in flow.log and "mend the profile" in flow.log
    assert not (flow.folder / "first.txt").exists()


def test_killed_snakemake_attaches_and_notices_a_scancel_without_accounting(workflow, slurm):
    (slurm / "sacct-broken").touch()
    flow = workflow(steps=120, seconds=0.1)
    outer = flow.start(jobs=2)
    ids = running(flow, 2)
    outer.kill()
    outer.wait()
    flow.unlock()
    outer = flow.start("--retries", "1", jobs=2)
    wait_for(lambda: flow.log.count("Attached to job") == 2)
    tell("scancel", ids[0])
    assert outer.wait(60) == 0
    assert "cancelled from outside" in flow.log
    starts = sorted((flow.starts(n) for n in (0, 1)), key=len)
    assert [len(one) for one in starts] == [1, 2]
    assert starts[1][1] > 0  # the retry went on from the saved step
    assert not queue()
