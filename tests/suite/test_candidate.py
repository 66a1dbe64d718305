"""The model of ``--config model=...``: its values as YAML means them, and what is refused."""

from __future__ import annotations

import json

import pytest

from bench.suite import candidate, plan
from bench.support.errors import BenchError


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    monkeypatch.setenv("BENCH_MODEL", "")


def test_nested_values_are_numbers_again():
    """Snakemake reads `--config options='{width: 48}'` as text, or as a mapping of texts."""
    as_text = {
        "model": "dit-t16",
        "options": "{width: 48, windows: null}",
        "training": "{learning_rate: 2e-3}",
    }
    as_texts = {
        "model": "dit-t16",
        "options": {"width": "48", "windows": "null"},
        "training": {"learning_rate": "2e-3"},
    }
    for settings in (as_text, as_texts):
        found = json.loads(candidate.to_environment({"suite": "smoke", **settings}))
        assert found["options"] == {"width": 48, "windows": None}
        assert found["training"] == {"learning_rate": 0.002}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"modle": "x.py"}, "unknown|no key 'modle' .did you mean 'model'"),
        ({"options": "{width: 48}"}, "options belongs to a model"),
        ({"model": "dit-t16", "options": "{width: ["}, "--config options is not valid YAML"),
        ({"model": "dit-t16", "options": "48"}, "options of the model must be a mapping"),
        ({"model": "dit-t61"}, "did you mean 'dit-t16"),
        ({"model": "unet-t16"}, "has a model 'unet-t16' already"),
        ({"model": "dit-t16-local-star", "training": "{stepz: 4}"}, "did you mean 'steps'"),
    ],
)
def test_a_wrong_setting_is_one_sentence(settings, sentence):
    with pytest.raises(BenchError, match=sentence):
        candidate.to_environment(settings)
        plan.load("smoke")


def test_a_file_that_registers_by_call(tmp_path):
    path = tmp_path / "two.py"
    path.write_text("@register_model('one')\ndef one(): ...\nregister_model('other')(one)\n")
    assert candidate.registered(path) == ["one", "other"]
