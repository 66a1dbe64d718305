"""What changes the fingerprint by which a running job is recognised."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from snakemake.io import IOFile, ancient

from snakemake_executor_plugin_submitit.sidecar import fingerprint_of, key_of


def job(**changes: object) -> SimpleNamespace:
    parts = {"shellcmd": "train", "input": [], "output": ["b", "a"], "params": ["code-1"], **changes}
    return SimpleNamespace(
        is_group=lambda: False, rule=SimpleNamespace(name="train"), wildcards_dict={}, **parts
    )


@pytest.mark.parametrize("changes", [{"shellcmd": "train --fast"}, {"params": ["code-2"]}, {"input": ["x"]}])
def test_command_parameters_and_inputs_count(changes):
    assert fingerprint_of(job(**changes)) != fingerprint_of(job())
    assert fingerprint_of(job()) == fingerprint_of(job())


@pytest.mark.parametrize("flag", [str, ancient])
def test_a_newer_input_counts_unless_it_is_ancient(tmp_path, flag):
    path = tmp_path / "data"
    path.touch()
    file = IOFile(flag(str(path)))
    before = fingerprint_of(job(input=[file]))
    os.utime(path, (1, 1))
    assert (fingerprint_of(job(input=[file])) == before) is (flag is ancient)


def test_the_key_is_the_set_of_outputs():
    assert key_of(job()) == key_of(job(output=["a", "b"], params=["other"]))
    assert key_of(job()) != key_of(job(output=["a"]))
