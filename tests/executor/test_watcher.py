"""When the watcher calls a job ended, with a Slurm that answers what the test wants."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from snakemake_executor_plugin_submitit import slurm
from snakemake_executor_plugin_submitit.records import Record, RecordFolder
from snakemake_executor_plugin_submitit.slurm import State
from snakemake_executor_plugin_submitit.watcher import Watcher, killed_for_memory, last_lines


@pytest.fixture
def world(tmp_path: Path, monkeypatch):
    """A record, a watcher with its clock and its warnings, and a Slurm that answers what the test wants."""

    class World:
        record = Record("key", "train n=1", "7_1", "slurm", str(tmp_path), "f")
        records = RecordFolder(tmp_path / "running")
        now, asked, answer = 0.0, 0, {}

        def __init__(self) -> None:
            self.warnings, self.cancelled = [], []
            self.watcher = Watcher("slurm", self.records, 10.0, self.warnings.append, clock=lambda: self.now)

        def look(self, seconds: float = 10.0):
            self.now += seconds
            return self.watcher.ended([self.record]).get("key")

        def states(self, cluster, records):
            self.asked += 1
            return self.answer

        def cancel(self, cluster, records):
            self.cancelled += [record.job_id for record in records]

    world = World()
    monkeypatch.setattr(slurm, "states", world.states)
    monkeypatch.setattr(slurm, "cancel", world.cancel)
    return world


def test_a_success_is_seen_without_asking_the_queue(world):
    world.record.path("result.pkl").write_bytes(pickle.dumps(("success", None)))
    assert world.look(0.1) == "" and world.asked == 0


def test_an_error_counts_when_the_queue_has_let_the_job_go(world):
    """A job may fail at the very moment in which Slurm requeues it: it must not be submitted a second time."""
    error = world.record.path("result.pkl")
    error.write_bytes(pickle.dumps(("error", "Trace\nValueError: no")))
    world.answer = {"7_1": State("PENDING")}
    assert world.look() is None
    error.unlink()  # its next start
    world.answer = {"7_1": State("RUNNING")}
    assert world.look() is None
    error.write_bytes(pickle.dumps(("error", "Trace\nValueError: no")))
    for gone in ({}, {"7_1": State("FAILED")}):
        world.answer = gone
        assert world.look() == "ValueError: no"


def test_the_queue_is_asked_once_per_interval(world):
    world.answer = {"7_1": State("RUNNING")}
    for _ in range(100):
        assert world.look(1.0) is None
    assert world.asked == 10


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("OUT_OF_MEMORY", "more memory"),
        ("CANCELLED", "cancelled"),
        ("NODE_FAIL", "node"),
        ("COMPLETED", "without writing its result"),
    ],
)
def test_a_final_state_counts_at_the_second_look(world, state, words):
    world.answer = {"7_1": State(state)}
    assert world.look() is None
    assert words in world.look()


def test_a_requeued_job_is_not_lost(world):
    for name in ("NODE_FAIL", "PENDING", "NODE_FAIL", "RUNNING", "COMPLETING"):
        world.answer = {"7_1": State(name)}
        assert world.look() is None


def test_a_forgotten_job_is_lost_after_four_looks(world):
    """Unless it was only out of sight."""
    assert [world.look() for _ in range(3)] == [None] * 3
    world.answer = {"7_1": State("RUNNING")}
    assert world.look() is None
    world.answer = {}
    assert [world.look() for _ in range(3)] == [None] * 3
    assert "Slurm does not know it any more" in world.look()


def test_a_late_result_wins_over_the_loss(world):
    world.look()
    world.record.path("result.pkl").write_bytes(pickle.dumps(("success", None)))
    assert world.look() == ""


def test_a_silent_queue_loses_nothing_and_warns_now_and_then(world):
    world.answer = None
    assert [world.look(60.0) for _ in range(12)] == [None] * 12
    assert len(world.warnings) == 2 and "squeue has not answered" in world.warnings[0]


def test_a_job_that_can_never_start_is_named_once(world):
    world.answer = {"7_1": State("PENDING", "PartitionTimeLimit")}
    for _ in range(3):
        world.look()
    assert len(world.warnings) == 1 and "train n=1" in world.warnings[0]


def test_a_job_that_slurm_holds_after_a_failed_launch_is_a_failed_attempt(world):
    world.answer = {"7_1": State("PENDING", "launch failed requeued held")}
    assert "no node could start it" in world.look()
    assert world.cancelled == ["7_1"]


@pytest.fixture
def folder_without_space(monkeypatch):
    def full(folder):
        return f"{folder} cannot be written: No space left on device."

    monkeypatch.setattr("snakemake_executor_plugin_submitit.watcher.why_unwritable", full)


def test_a_full_submission_folder_is_named(world, folder_without_space):
    world.answer = {"7_1": State("FAILED")}
    world.look()
    assert f"{world.record.folder} cannot be written: No space left on device." in world.look()


def stray(world, job_id="9", name="RUNNING", script="submission_file_ab.sh"):
    world.answer = {"7_1": State("RUNNING", "None", world.record.folder + "/submission_file_cd.sh")}
    world.answer[job_id] = State(name, "None", f"{world.record.folder}/{script}")


def test_a_job_that_nobody_waits_for_is_cancelled_at_the_second_look(world):
    """Its result was seen and it stays in the queue, or sbatch failed after Slurm had accepted it."""
    world.records.write(world.record)
    stray(world)
    assert world.look() is None and world.cancelled == []
    assert world.look() is None and world.cancelled == ["9"]
    assert "no job needs them: 9" in world.warnings[0]


@pytest.mark.parametrize(
    "changes", [{"job_id": "7_1"}, {"name": "COMPLETING"}, {"name": "COMPLETED"}, {"script": "../other/x.sh"}]
)
def test_jobs_on_record_ended_ones_and_those_of_others_are_left_alone(world, changes):
    world.records.write(world.record)
    stray(world, **changes)
    for _ in range(3):
        world.look()
    assert world.cancelled == []


def test_at_the_end_a_job_has_some_time_to_leave_the_queue(world, monkeypatch):
    stray(world)
    del world.answer["7_1"]

    def pause(seconds):
        assert world.cancelled == []
        world.now += 1.0

    monkeypatch.setattr("time.sleep", pause)
    world.watcher.finish(5.0)
    assert world.cancelled == ["9"] and world.now == 5.0
    world.answer, asked = {}, world.asked
    world.watcher.finish(5.0)
    assert world.asked == asked + 1 and world.now == 5.0


def test_records_come_back_and_broken_ones_do_not(world, tmp_path):
    records = world.records
    records.write(world.record)
    assert records.read("key") == world.record
    (tmp_path / "running/key.json").write_text('{"key": "ke')
    assert records.read("key") is None and records.read("other") is None


def test_last_lines_come_from_the_first_log_that_says_anything(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "log").write_text("\n".join(f"line {i}" for i in range(30)))
    text = last_lines([tmp_path / "absent", tmp_path / "empty", tmp_path / "log"], count=2)
    assert text.splitlines() == [f"last lines of {tmp_path / 'log'}:", "    line 28", "    line 29"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.0. Some of your processes",
            "mem_mb allows",
        ),
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some tasks have been OOM Killed.",
            "mem_mb allows",
        ),
        ("slurmstepd-a: error: StepId=7.0 exceeded memory limit (9 > 8), being killed", "mem_mb allows"),
        ("/bin/bash: line 1:  4711 Killed                  bench train x", "raise mem_mb"),
        ("Error in rule train: nothing was Killed", ""),
    ],
)
def test_a_kill_for_memory_is_named_from_the_log(tmp_path, line, words):
    assert killed_for_memory(tmp_path / "absent") == ""
    (tmp_path / "log").write_text(f"start\n{line}\nslurmstepd: error: *** STEP 7.0 CANCELLED ***\n")
    said = killed_for_memory(tmp_path / "log")
    assert words in said and bool(said) is bool(words)
