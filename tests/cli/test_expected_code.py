"""A job whose code differs from the planned one stops before it does anything."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.cli import main
from bench.support import expected_code

RULES = Path(__file__).resolve().parents[2] / "workflow" / "rules"
VERBS = [
    ["data", "build", "disks-8"],
    ["data", "subset", "results/datasets/disks-8", "--shuffle", "0", "--out", "s0.npz"],
    ["train", "disks-8.dit-t16.n10.s0", "--suite", "smoke"],
    ["measure", "psnr", "disks-8.dit-t16.n10.s0", "--suite", "smoke"],
    ["samples", "disks-8.dit-t16.n10.s0", "--suite", "smoke"],
    ["reference", "disks-8"],
    ["tidy", "--suite", "smoke"],
    ["figure", "fig2", "--suite", "smoke"],
    ["table", "tab1", "--suite", "smoke"],
]


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_other_code_than_planned_is_refused(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--expect-code", "0123456789abcdef"]) == 1
    said = capsys.readouterr().err
    assert "code changed after this job was planned" in said and "nothing was run" in said
    assert not list(tmp_path.iterdir())


def test_the_submitting_snakemake_has_a_word_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    actual = "f" * 16
    expected_code.check(actual, actual)
    other = {"rule": "train", "wildcards": {}, "params": {"code": "0" * 16}}
    group = [{**other, "params": {"code": actual}}, other]
    monkeypatch.setenv(expected_code.VARIABLE, json.dumps(group))
    expected_code.check(actual, actual)
    monkeypatch.setenv(expected_code.VARIABLE, json.dumps([other]))
    with pytest.raises(expected_code.BenchError, match="after this job was planned"):
        expected_code.check(actual, actual)


def test_every_rule_with_a_fingerprint_passes_it_on():
    text = "\n".join(path.read_text() for path in RULES.glob("*.smk"))
    rules = [
        rule for rule in re.split(r"^rule ", text, flags=re.M)[1:] if re.search(r"^\s+code=", rule, re.M)
    ]
    missing = [rule.split(":")[0] for rule in rules if "--expect-code {params.code}" not in rule]
    assert len(rules) >= 10 and not missing
