"""What a training leaves behind for those who look: each start with its end, and how the runs of a suite stand."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from bench.cli import main
from bench.suite import plan
from bench.support import paths, provenance
from bench.support.errors import BenchError
from bench.support.files import write_json
from bench.training import live, state
from bench.training.attempts import Attempt


def start(folder, step, first=0):
    """One start that has reached ``step``; killed, unless it is used as a context manager."""
    here = [first]
    attempt = Attempt(folder, "cpu", lambda: here[0], 4)
    attempt.__enter__()
    here[0] = step
    return attempt


def rows(folder):
    return json.loads((folder / "attempts.json").read_text())


def test_each_start_is_recorded_with_its_end(tmp_path):
    with pytest.raises(BenchError), start(tmp_path, 10):
        raise BenchError("the loss is not finite")
    killed = start(tmp_path, 30, first=10)
    state.Status(tmp_path, 60).write("training", 25)  # its last heartbeat
    del killed
    with start(tmp_path, 60, first=20):
        pass
    first, second, third = rows(tmp_path)
    assert first["exit"] == "BenchError: the loss is not finite" and first["last_step"] == 10
    assert second["exit"].startswith("killed") and (second["first_step"], second["last_step"]) == (10, 25)
    assert third["exit"] == "done" and third["images_per_second"] > 0 and third["peak_memory_mib"] > 10
    assert all(row["host"] and row["device"] == "cpu" and row["ended"] for row in (first, second, third))


def test_a_start_that_died_before_its_first_heartbeat(tmp_path):
    state.Status(tmp_path, 60).write("training", 25)
    time.sleep(0.01)
    start(tmp_path, 40, first=20)
    with start(tmp_path, 60, first=20):
        pass
    assert rows(tmp_path)[0]["last_step"] == 20


def test_a_slow_disk_gets_fewer_heartbeats(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(state.time, "time", lambda: now[0])
    write_slowly = lambda *_: now.__setitem__(0, now[0] + 0.5)  # noqa: E731
    monkeypatch.setattr(state, "write_json", write_slowly)
    status = state.Status(tmp_path, 60)
    assert status.write("training", 1)
    written = []
    for _ in range(100):
        now[0] += 1
        written.append(status.write("training", 2))
    assert written.count(True) == 2  # every 50 s
    assert status.write("done", 60)


def test_the_job_of_a_process(monkeypatch):
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    assert provenance.job()["id"] is None and provenance.job()["queue_seconds"] is None
    monkeypatch.setenv("SUBMITIT_SUBMIT_TIME", str(provenance._BEGAN - 100))
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    found = provenance.job()
    assert found["id"] == "12" and found["queue_seconds"] == 100 and found["compute_seconds"] >= 0
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "11")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    found = provenance.job()
    assert found["id"] == "11_3" and found["restarts"] == 2


def test_a_hung_training_ends_with_its_stacks():
    code = (
        "import time\nfrom bench.training.attempts import watchdog\n"
        "def hung(): time.sleep(60)\n"
        "with watchdog(0.6) as alive:\n"
        "    for _ in range(5): time.sleep(0.2); alive()\n"
        "    print('alive', flush=True); hung()\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 1 and done.stdout == "alive\n" and "in hung" in done.stderr
    assert time.monotonic() - began < 40


def test_bench_runs_shows_every_state(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = list(plan.load("smoke").runs)
    folders = [paths.state_root("smoke", name) / "digest" for name in names]
    for folder in folders[:4]:
        folder.mkdir(parents=True)
    state.Status(folders[0], 30).write("training", 15, images_per_second=120.0, seconds_left=7200)
    with start(folders[1], 7):
        state.Status(folders[1], 30).write("failed", 7, reason="the loss is not finite")
    write_json(folders[2] / "status.json", silent())
    state.Status(folders[3], 30).write("interrupted", 3)
    with state.lock(folders[0]):
        assert main(["runs", "--suite", "smoke"]) == 0
        said = capsys.readouterr()
        lines = {line.split()[0]: line for line in said.out.splitlines()}
        assert "training   " in lines[names[0]] and "15/30 (50 %)" in lines[names[0]]
        assert "120" in lines[names[0]] and "2.0 h" in lines[names[0]]
        assert "the loss is not finite" in lines[names[1]] and " cpu " in lines[names[1]]
        assert "silent" in lines[names[2]] and "elsewhere, job 7_1" in lines[names[2]]
        assert "2 not started" in said.err and "1 interrupted" in said.err
    assert main(["runs", "--suite", "smoke", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[names[0]]["state"] == "stopped" and found[names[0]]["seconds_left"] == 7200


def silent():
    then = time.time() - live.SILENCE - 1
    return {
        "state": "training",
        "step": 1,
        "steps": 30,
        "time": then,
        "host": "elsewhere",
        "job": "7_1",
        "pid": 1,
    }
