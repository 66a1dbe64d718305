"""Slurm's refusals: which are waited for, and how the others are said."""

from __future__ import annotations

import os
import time

import pytest

from snakemake_executor_plugin_submitit import slurm
from snakemake_executor_plugin_submitit.slurm import Refused, patiently

AWAY = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
NO_NODE = "Requested node configuration is not available"


@pytest.fixture
def world(monkeypatch):
    """Answers of Slurm in order, the pauses between them, and the warnings."""

    class World:
        def __init__(self):
            self.answers, self.pauses, self.warnings = [], [], []

        def attempt(self):
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        def ask(self):
            return patiently(self.attempt, self.warnings.append)

    world = World()
    monkeypatch.setattr(time, "sleep", world.pauses.append)
    return world


@pytest.mark.parametrize(
    "words", [AWAY, "Socket timed out on send/recv operation", "QOSMaxSubmitJobPerUserLimit"]
)
def test_a_controller_that_is_away_is_waited_for_with_growing_pauses(world, words):
    world.answers = [Refused(words)] * 7 + ["job"]
    assert world.ask() == "job"
    assert world.pauses == [2, 4, 8, 16, 32, 60, 60]
    assert words in world.warnings[0] and "not a failed attempt" in world.warnings[0]


def test_what_will_not_pass_is_said_at_once_and_missing_nodes_at_the_third_time(world):
    world.answers = [Refused("invalid partition")]
    with pytest.raises(Refused, match="invalid partition"):
        world.ask()
    world.answers = [Refused(NO_NODE), Refused(NO_NODE), "job"]
    assert world.ask() == "job"
    world.answers = [Refused(NO_NODE)] * 3
    with pytest.raises(Refused, match="not available"):
        world.ask()
    assert world.answers == []


class Settings:
    cluster, folder, max_num_timeout, signal_delay, array_limit, setup = "local", "", 1, 30, 1, ""


@pytest.mark.parametrize(("number", "passing"), [(28, True), (13, False)])
def test_a_full_submission_folder_is_waited_for(monkeypatch, number, passing):
    def fail(*arguments):
        raise OSError(number, os.strerror(number), "/shared/submitit/x.pkl")

    monkeypatch.setattr(slurm, "executor", fail)
    with pytest.raises(Refused, match="/shared/submitit/x.pkl: ") as caught:
        slurm.submit(Settings(), {}, [None])
    assert caught.value.passing is passing


def test_a_refusal_shows_what_sbatch_said(monkeypatch):
    from submitit.core.utils import FailedJobError

    def fail(*arguments):
        raise FailedJobError("Command failed:\nsbatch: error: no such partition\nTraceback\n  File x")

    monkeypatch.setattr(slurm, "executor", fail)
    with pytest.raises(Refused, match="^sbatch: error: no such partition$"):
        slurm.submit(Settings(), {}, [None])
