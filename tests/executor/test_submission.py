"""Resources become submitit parameters, ready jobs become arrays, and the callable keeps its promises."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from harness import REPOSITORY, wait_for
from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_submitit import submission
from snakemake_executor_plugin_submitit.job import InnerFailed, InnerRun


def job(rule: str = "train", threads: int = 1, **resources: object) -> SimpleNamespace:
    return SimpleNamespace(
        is_group=lambda: False, rule=SimpleNamespace(name=rule), threads=threads, resources=resources
    )


def test_resources_become_parameters():
    one = job(
        threads=4,
        runtime=90,
        mem_mb=1536,
        gpus=1,
        slurm_partition="gpu",
        slurm_account="me",
        qos="long",
        constraint="a100",
        slurm_extra="--exclusive --reservation='the night'",
    )
    assert submission.parameters(one) == {
        "name": "train",
        "timeout_min": 90,
        "mem_gb": 1.5,
        "cpus_per_task": 4,
        "gpus_per_node": 1,
        "slurm_partition": "gpu",
        "slurm_account": "me",
        "slurm_qos": "long",
        "slurm_constraint": "a100",
        "slurm_srun_args": ["--cpus-per-task=4"],
        "slurm_additional_parameters": {"exclusive": True, "reservation": "the night"},
    }


def test_nothing_is_asked_that_was_not_given():
    wanted = submission.parameters(job(gpus=0))
    assert set(wanted) == {"name", "timeout_min", "cpus_per_task", "slurm_srun_args"}


@pytest.mark.parametrize(("name", "value"), [("runtime", "soon"), ("slurm_extra", "-p gpu"), ("gpus", "one")])
def test_values_that_mean_nothing_are_refused(name, value):
    with pytest.raises(WorkflowError, match=name):
        submission.parameters(job(**{name: value}))


def test_jobs_of_one_kind_become_arrays_up_to_the_limit():
    jobs = [job("train", runtime=60) for _ in range(5)] + [job("psnr", runtime=60), job("train", runtime=9)]
    assert [len(one) for one in submission.batches(jobs, True, 3)] == [3, 2, 1, 1]
    assert [len(one) for one in submission.batches(jobs, False, 3)] == [1] * 7


def test_slurm_is_asked_again_while_nodes_may_be_restarting(monkeypatch):
    answers = ["Requested node configuration is not available", ""]
    monkeypatch.setattr(submission, "PAUSE", 0.0)
    monkeypatch.setattr(submission, "_judged", lambda *_: answers.pop(0))
    assert submission.refusal(None, {}) == ""
    answers = ["Requested node configuration is not available"] * 5
    assert "not available" in submission.refusal(None, {}) and len(answers) == 2
    answers = ["invalid partition", ""]
    assert submission.refusal(None, {}) == "invalid partition"


def test_a_refusal_shows_what_sbatch_said():
    error = RuntimeError("Command failed:\nsbatch: error: no such partition\nTraceback\n  File x")
    assert submission.sbatch_text(error) == "sbatch: error: no such partition"


def test_interrupts_wait_until_the_record_is_written():
    done = []
    with pytest.raises(KeyboardInterrupt), submission.interrupts_deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        done.append("record")
    assert done == ["record"]


def test_the_marks_return_after_a_success_only(tmp_path):
    mark = tmp_path / "incomplete" / "mark"
    with pytest.raises(InnerFailed, match="status 3"):
        InnerRun("exit 3", "debug", [str(mark)], 30)()
    assert not mark.exists()
    InnerRun("true", "debug", [str(mark)], 30)()
    assert mark.exists()


def test_the_shell_ignores_the_warning_signal_and_the_training_need_not(tmp_path):
    """checkpoint() returns as soon as the inner run has ended, and the new start has no process."""
    code = "import signal, time; signal.signal(12, lambda *a: exit(75)); print(flush=True); time.sleep(60)"
    ready = tmp_path / "ready"
    run = InnerRun(f'{sys.executable} -c "{code}" > {ready}; exit $?', "local", [], 40)
    run.cluster = "debug"  # without a submitit environment, but with a session of its own
    failed = []

    def call() -> None:
        with pytest.raises(InnerFailed) as caught:
            run()
        failed.append(caught.value)

    thread = threading.Thread(target=call)
    thread.start()
    wait_for(lambda: ready.exists() and ready.stat().st_size)  # its handler is there
    began = time.monotonic()
    run.cluster = "local"
    delayed = run.checkpoint()
    assert time.monotonic() - began < 25
    thread.join()
    assert failed
    assert run.process.returncode == 75
    again = pickle.loads(pickle.dumps(delayed.function))
    assert again.process is None and not again.finished and again.command == run.command


def test_a_job_that_ended_well_under_the_signal_is_not_run_again(tmp_path):
    marker = tmp_path / "starts"
    run = InnerRun(f"echo start >> {marker}; sleep 0.3", "debug", [], 40)
    run.process = run._start()
    again = pickle.loads(pickle.dumps(run.checkpoint().function))
    again()
    assert marker.read_text() == "start\n"


def test_a_job_that_never_answers_the_warning_is_not_started_for_ever(tmp_path):
    run = InnerRun("sleep 60", "slurm", [], 10)
    run.process = run._start()
    try:
        for _ in range(2):
            again = run.checkpoint().function
            assert pickle.loads(pickle.dumps(again)).unanswered == run.unanswered
        with pytest.raises(InnerFailed, match="3 warning signals in a row .* raise runtime"):
            run.checkpoint()
    finally:
        run.process.kill()
        run.process.wait()


def test_stop_ends_the_whole_session(tmp_path):
    run = InnerRun("sleep 61 & sleep 62", "debug", [], 30)
    run.process = run._start()
    run.stop()
    wait_for(lambda: not subprocess.run(["pgrep", "-g", str(run.process.pid)], capture_output=True).stdout)


def test_the_callable_imports_no_snakemake():
    code = "import sys; import snakemake_executor_plugin_submitit.job; print('snakemake' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert done.stdout == "False\n"


def test_the_planned_code_reaches_the_command(tmp_path):
    InnerRun(f'echo "$SUBMITIT_PLANNED_CODE" > {tmp_path}/code', "debug", [], 30, "abc")()
    assert (tmp_path / "code").read_text() == "abc\n"
