"""The whole way through submitit's local cluster, with interrupts, kills and restarts."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from harness import wait_for

pytestmark = pytest.mark.workflow


def test_all_outputs_arrive_and_a_failing_job_stops_no_other(workflow):
    flow = workflow()
    assert flow.run("--keep-going", jobs=4, fail=2) == 1
    assert [(flow.folder / f"out/{n}.txt").exists() for n in range(4)] == [True, True, False, True]
    assert flow.log.count("Error in rule train") == 1
    assert "train n=2: " in flow.log and "no luck" in flow.log  # the run's name and its last lines
    assert not list((flow.folder / ".snakemake/submitit/running").iterdir())


def test_sigterm_cancels_and_leaves_no_process(workflow):
    flow = workflow(steps=1000, seconds=0.1)
    outer = flow.start(jobs=2)
    wait_for(lambda: len(flow.processes()) == 2)
    outer.send_signal(signal.SIGTERM)
    outer.wait(100)
    wait_for(lambda: not flow.processes(), 60)
    assert not list((flow.folder / ".snakemake/submitit/running").iterdir())


def test_sigint_cancels_and_leaves_no_process(workflow, slow):
    flow = workflow(steps=1000, seconds=0.1)
    outer = flow.start(jobs=2)
    wait_for(lambda: len(flow.processes()) == 2)
    outer.send_signal(signal.SIGINT)
    outer.wait(100)
    wait_for(lambda: not flow.processes(), 60)
    assert not list((flow.folder / ".snakemake/submitit/running").iterdir())


def test_killed_snakemake_finds_its_running_and_its_finished_jobs_again(workflow):
    """One job ends while nobody watches, one still runs; neither starts twice, and both get metadata."""
    flow = workflow(steps=90, seconds=0.1)
    outer = flow.start(jobs=2)
    wait_for(lambda: flow.starts(0) and flow.starts(1))
    outer.kill()
    outer.wait()
    assert flow.unlock().returncode == 0 and flow.processes()  # although trainings live
    wait_for(lambda: len(list(Path(flow.folder, ".snakemake/submitit").glob("*_0_result.pkl"))) == 3)
    assert flow.run(jobs=2) == 0
    assert flow.log.count("Attached to job") == 2
    assert len(flow.starts(0)) == len(flow.starts(1)) == 1
    # the metadata are there: the same plan does nothing, another parameter reruns
    plan = flow.folder / "outer.log"
    plan.write_text("")
    assert flow.run("-n", jobs=2) == 0 and "Nothing to be done" in flow.log
    assert flow.run("-n", jobs=2, version="b") == 0 and "Params have changed" in flow.log


def test_attach_while_running(workflow, slow):
    flow = workflow(steps=80, seconds=0.1)
    outer = flow.start(jobs=2)
    wait_for(lambda: flow.starts(0) and flow.starts(1))
    outer.kill()
    outer.wait()
    flow.unlock()
    assert flow.run(jobs=2) == 0
    assert flow.log.count("Attached to job") == 2
    assert len(flow.starts(0)) == len(flow.starts(1)) == 1


def test_job_of_other_parameters_is_ended_and_not_attached(workflow):
    flow = workflow(steps=100, seconds=0.1)
    outer = flow.start(jobs=1, version="a")
    wait_for(lambda: flow.starts(0))
    outer.kill()
    outer.wait()
    old = flow.processes()
    flow.unlock()
    flow.write(steps=40, seconds=0.05)
    assert flow.run(jobs=1, version="b") == 0
    assert "Attached" not in flow.log
    assert (flow.folder / "out/0.txt").read_text().endswith(" b\n")
    assert not set(old) & set(flow.processes())


def test_retry_asks_for_more_memory(workflow, slow):
    flow = workflow()
    arguments = ["--retries", "1", "--default-resources", "mem_mb=attempt*100"]
    assert flow.run(*arguments, jobs=1, fail=0) == 1
    assert flow.log.count("Error in rule train") == 2
    assert "mem_mb=100" in flow.log and "mem_mb=200" in flow.log


def test_time_limit_saves_and_goes_on(workflow, slow):
    """One minute, signal 30 s before its end: the stand-in saves, exits, and the job starts again."""
    flow = workflow(steps=450, seconds=0.1)
    assert flow.run(jobs=1, runtime=1, timeout=150) == 0
    first, second = flow.starts(0)
    assert first == 0 and 150 < second < 450


def test_debug_cluster_runs_one_after_the_other(workflow, slow):
    flow = workflow(cluster="debug")
    assert flow.run(jobs=2) == 0
    assert (flow.folder / "last.txt").exists()


def test_an_input_from_the_future_is_named_before_anything_is_trained(workflow):
    """Snakemake would delete the outputs when the training has ended."""
    flow = workflow()
    assert flow.run("--until", "first", jobs=1) == 0
    os.utime(flow.folder / "first.txt", (2**32, 2**32))
    assert flow.run("--retries", "1", jobs=1) == 1
    assert (
        "Its input first.txt has a modification time in the future; `touch` it" in flow.log
        and not flow.starts(0)
    )
    (flow.folder / "first.txt").touch()
    assert flow.run(jobs=1) == 0
