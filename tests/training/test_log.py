"""What a training leaves behind for those who look: each start with its end, and how the runs of a suite stand."""

from __future__ import annotations

import errno
import fcntl
import json
import subprocess
import sys
import time

import pytest
from small_training import run, spec

from bench.cli import main
from bench.suite import plan
from bench.support import paths, provenance
from bench.support.errors import BenchError
from bench.training import log as logs
from bench.training.lock import held, lock
from bench.training.log import Log, in_use, look, starts


def start(folder, step, first=0, steps=60):
    """One start that has reached ``step``; killed, unless it is used as a context manager."""
    here = [first]
    made = Log(folder, "cpu", lambda: here[0], steps, 4)
    made.__enter__()
    here[0], made.every = step, 0
    made.beat()
    return made


def rewrite(folder, **values):
    """Change the last row of a log."""
    rows = starts(folder)
    rows[-1] |= values
    (folder / "log.json").write_text(json.dumps({"starts": rows}))


def test_each_start_is_recorded_with_its_end(tmp_path):
    with pytest.raises(BenchError), start(tmp_path, 10):
        raise BenchError("the loss is not finite")
    start(tmp_path, 25, first=10)  # killed
    with start(tmp_path, 60, first=20):
        pass
    first, second, third = starts(tmp_path)
    assert first["exit"] == "BenchError: the loss is not finite" and first["last_step"] == 10
    assert second["exit"].startswith("killed") and (second["first_step"], second["last_step"]) == (10, 25)
    assert third["exit"] == "done" and third["images_per_second"] > 0 and third["peak_memory_mib"] > 10
    assert all(row["host"] and row["device"] == "cpu" and row["ended"] for row in (first, second, third))


def test_a_slow_disk_gets_fewer_signs(tmp_path, monkeypatch):
    made, now = start(tmp_path, 1), [time.time() + 10]
    monkeypatch.setattr(logs.time, "time", lambda: now[0])
    monkeypatch.setattr(logs, "write_json", lambda *_: now.__setitem__(0, now[0] + 0.5))
    made.beat()
    given = []
    for _ in range(100):
        now[0] += 1
        given.append(made.beat())
    assert given.count(True) == 2  # every 50 s


@pytest.mark.parametrize("content", ["", "{", "[]", '{"starts": 3'])
def test_a_damaged_log_is_begun_anew(place, capsys, content):
    undisturbed = run(place, spec(place))
    (folder,) = (place / "state").iterdir()
    (folder / "log.json").write_text(content)
    assert run(place, spec(place)) == undisturbed
    assert "log.json cannot be read" in capsys.readouterr().err
    assert [row["exit"] for row in starts(folder)] == ["done"]
    (folder / "log.json").write_text(content)
    assert look(place / "none", place / "state").state == "not started"


def test_a_log_that_cannot_be_written_leaves_the_training_alone(place, monkeypatch, capsys):
    undisturbed = run(place, spec(place), "calm", "calm-state")

    def stale(path, value):
        raise BenchError(f"Cannot write {path}: Stale file handle; free some space.")

    monkeypatch.setattr(logs, "write_json", stale)
    assert run(place, spec(place)) == undisturbed
    said = capsys.readouterr().err
    assert said.count("Stale file handle") == 1 and "continues without a log" in said


def test_without_file_locks_a_training_runs_and_says_so(place, monkeypatch, capsys):
    undisturbed = run(place, spec(place), "calm", "calm-state")

    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    assert run(place, spec(place)) == undisturbed
    assert "no file locks here (No locks available)" in capsys.readouterr().err
    (folder,) = (place / "state").iterdir()
    assert held(folder) is None and not in_use(folder), "it has ended"
    start(folder, 3)
    assert in_use(folder), "it gave a sign just now"
    assert look(place / "none", place / "state").state == "training"
    rewrite(folder, time=time.time() - logs.RECENT - 1)
    assert not in_use(folder)


def test_a_run_in_use_is_not_called_stopped(tmp_path):
    folder = tmp_path / "state" / "digest"
    folder.mkdir(parents=True)
    start(folder, 30)
    with lock(folder):
        found = look(tmp_path / "none", tmp_path / "state")
        assert (found.state, found.step, found.steps) == ("training", 30, 60) and in_use(folder)
    assert look(tmp_path / "none", tmp_path / "state").state == "stopped" and not in_use(folder)
    rewrite(folder, host="elsewhere")
    assert look(tmp_path / "none", tmp_path / "state").state == "training"
    assert in_use(folder) == "a training on elsewhere may still run"


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
        "import time\nfrom bench.training.keeper import watchdog\n"
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
    start(folders[0], 15, steps=30)
    rewrite(folders[0], images_per_second=120.0, seconds_left=7200)
    with pytest.raises(BenchError), start(folders[1], 7, steps=30):
        raise BenchError("the loss is not finite")
    start(folders[2], 1, steps=30)
    rewrite(folders[2], host="elsewhere", id="7_1", time=time.time() - logs.SILENCE - 1)
    with pytest.raises(KeyboardInterrupt), start(folders[3], 3, steps=30):
        raise KeyboardInterrupt
    with lock(folders[0]):
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
