"""What a job promises on its node: signals, restarts, marks, the environment of its command, and what it notes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from harness import REPOSITORY, wait_for

from snakemake_executor_plugin_submitit import history
from snakemake_executor_plugin_submitit.node import Files, JobFailed, NodeJob, submitted_again


def node_job(command: str, **changes: object) -> NodeJob:
    parts = {
        "name": "x",
        "shell": "/bin/bash",
        "cluster": "debug",
        "record": "",
        "signal_delay": 40,
        **changes,
    }
    return NodeJob(command=command, **parts)


def start(job: NodeJob) -> tuple[threading.Thread, list[JobFailed]]:
    """Run a job in a thread until its process is there; the list gets its failure."""
    failed: list[JobFailed] = []

    def call() -> None:
        try:
            job()
        except JobFailed as error:
            failed.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    wait_for(lambda: job.process is not None)
    return thread, failed


def test_the_marks_return_after_a_success_only(tmp_path):
    mark = tmp_path / "incomplete" / "mark"
    with pytest.raises(JobFailed, match="status 3"):
        node_job("exit 3", marks=[str(mark)])()
    assert not mark.exists()
    node_job("true", marks=[str(mark)])()
    assert mark.exists()


def test_the_shell_ignores_the_warning_signal_and_the_training_need_not(tmp_path):
    """checkpoint() returns as soon as the command has ended, and the new start has no process."""
    code = "import signal, time; signal.signal(12, lambda *a: exit(75)); print(flush=True); time.sleep(60)"
    ready = tmp_path / "ready"
    job = node_job(f'{sys.executable} -c "{code}" > {ready}; exit $?')
    thread, failed = start(job)
    wait_for(lambda: ready.exists() and ready.stat().st_size)  # its handler is there
    began = time.monotonic()
    job.cluster = "local"
    delayed = job.checkpoint()
    assert time.monotonic() - began < 25
    thread.join()
    assert failed and job.process.returncode == 75
    again = pickle.loads(pickle.dumps(delayed.function))
    assert again.process is None and not again.finished and again.command == job.command


def test_the_shell_waits_for_a_command_that_saves_after_sigterm(tmp_path):
    code = "import signal, sys, time; signal.signal(15, lambda *a: (time.sleep(1), print('saved'), sys.exit(75)))"
    saved, ready = tmp_path / "saved", tmp_path / "ready"
    code += f"; open('{ready}', 'w'); time.sleep(60)"
    job = node_job(f'{sys.executable} -c "{code}" > {saved}')
    thread, failed = start(job)
    wait_for(ready.exists)
    os.killpg(job.process.pid, 15)
    thread.join(20)
    assert saved.read_text() == "saved\n" and "status 75" in str(failed[0])


def test_a_job_that_ended_well_under_the_signal_is_not_run_again(tmp_path):
    marker = tmp_path / "starts"
    job = node_job(f"echo start >> {marker}; sleep 0.5")
    thread, _ = start(job)
    again = pickle.loads(pickle.dumps(job.checkpoint().function))
    thread.join()
    again()
    assert marker.read_text() == "start\n"


def test_a_job_that_never_answers_the_warning_is_not_started_for_ever():
    job = node_job("sleep 60", signal_delay=10)
    thread, _ = start(job)
    for _ in range(2):
        again = job.checkpoint().function
        assert pickle.loads(pickle.dumps(again)).unanswered == job.unanswered
    with pytest.raises(JobFailed, match="3 warning signals in a row .* raise runtime"):
        job.checkpoint()
    job.stop()
    thread.join()


def test_stop_ends_the_whole_session():
    job = node_job("sleep 61 & sleep 62")
    thread, _ = start(job)
    job.stop()
    thread.join()
    wait_for(lambda: not subprocess.run(["pgrep", "-g", str(job.process.pid)], capture_output=True).stdout)


def test_the_node_imports_no_snakemake():
    code = "import sys; import snakemake_executor_plugin_submitit.node; print('snakemake' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert done.stdout == "False\n"


def test_the_environment_reaches_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    out = tmp_path / "out"
    node_job(
        f'echo "$OMP_NUM_THREADS ${{CUDA_VISIBLE_DEVICES-all}}" > {out}',
        environment={"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": None},
    )()
    assert out.read_text() == "3 all\n"


def files(tmp_path: Path, **changes: object) -> Files:
    parts = {"inputs": [], "outputs": [str(tmp_path / "made/out")], "logs": [], "benchmark": [], "latency": 0}
    return Files(**{**parts, **changes})


def test_an_own_command_finds_folders_made_and_old_outputs_gone(tmp_path):
    out, cost = tmp_path / "made/out", tmp_path / "cost/x.tsv"
    out.parent.mkdir()
    out.write_text("old")
    node_job(f"test ! -e {out}; echo new > {out}", files=files(tmp_path, benchmark=[str(cost)]))()
    assert out.read_text() == "new\n"
    header, row = (line.split("\t") for line in cost.read_text().splitlines())
    assert header[0] == "s" and header[2] == "max_rss" and len(row) == len(header) and float(row[2]) > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": ["absent"]}, "its input absent is not there after 0 s"),
        ({"outputs": ["/proc/none/out"]}, "/proc/none cannot be written"),
        ({"logs": ["/dev/null/x.log"]}, "/dev/null cannot be written"),
        ({}, "did not make .*made/out"),
    ],
)
def test_an_own_command_says_in_one_sentence_what_is_missing(tmp_path, changes, words):
    with pytest.raises(JobFailed, match=words):
        node_job("true", files=files(tmp_path, **changes))()


def test_starts_and_ends_are_read_back_from_the_logs(tmp_path, capsys):
    (tmp_path / "7_1_0_log.out").write_text("what the command says\n")
    for changes in ({"exit": "done", "compute_seconds": 3.0}, {}):
        history.note(
            name="train run=a", host="h", restarts=0, began=1.0 + len(changes), queue_seconds=5.0, **changes
        )
    with (tmp_path / "7_1_0_log.out").open("a") as log:
        log.write(capsys.readouterr().out + f'{history.NOTE}{{"beg')  # cut off by a full disk
    done, killed = history.starts(tmp_path)
    assert done["job"] == killed["job"] == "7_1" and done["exit"] == "done" and "exit" not in killed
    assert history.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "train run=a: killed, or still at work" in said and "train run=a: done" in said
    assert history.main([str(tmp_path), "psnr"]) == 1


@pytest.mark.parametrize(
    ("text", "found"), [("JobId=7 SubmitTime=2026-01-02T03:04:05 x=y", True), ("JobId=7", False)]
)
def test_when_slurm_took_a_job_back(tmp_path, monkeypatch, text, found):
    script = tmp_path / "scontrol"
    script.write_text(f"#!/bin/sh\necho '{text}'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    when = time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))
    assert submitted_again("7") == (when if found else None)
