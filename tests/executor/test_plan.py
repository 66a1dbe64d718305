"""The fingerprint by which a running job is recognised, and from resources to submitit's parameters and arrays."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from snakemake.io import IOFile, ancient
from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_submitit import plan
from snakemake_executor_plugin_submitit.plan import fingerprint_of, key_of


def job(**changes: object) -> SimpleNamespace:
    parts = {"shellcmd": "train", "input": [], "output": ["b", "a"], "params": ["code-1"], **changes}
    return SimpleNamespace(
        is_group=lambda: False, rule=SimpleNamespace(name="train"), wildcards_dict={}, **parts
    )


@pytest.mark.parametrize(
    "changes", [{"shellcmd": "train --fast"}, {"params": ["code-2"]}, {"input": [IOFile("x", None)]}]
)
def test_command_parameters_and_inputs_count(changes):
    assert fingerprint_of(job(**changes)) != fingerprint_of(job())
    assert fingerprint_of(job()) == fingerprint_of(job())


@pytest.mark.parametrize("flag", [str, ancient])
def test_a_newer_input_counts_unless_it_is_ancient(tmp_path, flag):
    path = tmp_path / "data"
    path.touch()
    file = IOFile(flag(str(path)), None)
    before = fingerprint_of(job(input=[file]))
    os.utime(path, (1, 1))
    assert (fingerprint_of(job(input=[file])) == before) is (flag is ancient)


def test_the_key_is_the_set_of_outputs():
    assert key_of(job()) == key_of(job(output=["a", "b"], params=["other"]))
    assert key_of(job()) != key_of(job(output=["a"]))


def test_an_input_from_the_future_is_named(tmp_path):
    path = tmp_path / "data"
    path.touch()
    now = path.stat().st_mtime
    one = job(input=[IOFile(str(path), None), IOFile(str(tmp_path / "absent"), None)])
    assert plan.input_from_the_future(one, now + 60) == ""
    os.utime(path, (now + 3600, now + 3600))
    assert plan.input_from_the_future(one, now + 60) == str(path)


def asking(rule: str = "train", threads: int = 1, **resources: object) -> SimpleNamespace:
    return SimpleNamespace(
        is_group=lambda: False,
        rule=SimpleNamespace(name=rule),
        wildcards_dict={},
        threads=threads,
        resources=resources,
    )


def test_resources_become_parameters():
    one = asking(
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
    assert plan.parameters(one) == {
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
    wanted = plan.parameters(asking(gpus=0))
    assert set(wanted) == {"name", "timeout_min", "cpus_per_task", "slurm_srun_args"}


@pytest.mark.parametrize(("name", "value"), [("runtime", "soon"), ("slurm_extra", "-p gpu"), ("gpus", "one")])
def test_values_that_mean_nothing_are_refused(name, value):
    with pytest.raises(WorkflowError, match=name):
        plan.parameters(asking(**{name: value}))


def test_jobs_of_one_kind_become_arrays_up_to_the_limit():
    jobs = [asking("train", runtime=60) for _ in range(5)] + [
        asking("psnr", runtime=60),
        asking("train", runtime=9),
    ]
    assert [len(one) for one in plan.batches(jobs, 3)] == [3, 2, 1, 1]
    assert [len(one) for one in plan.batches(jobs, 1)] == [1] * 7
