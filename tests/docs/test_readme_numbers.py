"""The sentences of README against the stored measurements that they speak of."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report import findings
from bench.report.context import Context
from bench.results.tidy import read_tidy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def value():
    table = read_tidy(ROOT / "results" / "baselines" / "demo" / "tidy.csv.gz")

    def of(metric: str, model: str, size: int, split: str) -> float:
        chosen = table[
            (table["metric"] == metric) & (table["model"] == model) & (table["train_size"] == size)
        ]
        [found] = chosen[(chosen["split"] == split) & (chosen["index_name"] == "")]["value"].unique()
        return float(found)

    return of


def test_what_readme_says_of_the_demo(value):
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    gap = {(m, n): f"{value('psnr_gap_mean', m, n, 'train-test'):.2f}" for m in MODELS for n in (10, 1000)}
    test = {
        (m, n): f"{value('psnr_mean', m, n, 'test'):.2f}"
        for m in (*MODELS, "wiener-pool")
        for n in (10, 1000)
    }
    assert gap["unet-t16", 10] == gap["dit-t16", 10]
    for sentence in (
        f"is {gap['unet-t16', 10]} dB higher on train images than on test images, for both the UNet and the DiT",
        f"and {value('memorized_share', 'unet-t16', 10, ''):.1%} of the UNet's samples".replace("%", " %"),
        f"the gap is {gap['unet-t16', 1000]} and {gap['dit-t16', 1000]} dB",
        f"{test['unet-t16', 1000]} and {test['dit-t16', 1000]} dB against {test['wiener-pool', 1000]} dB",
        f"from {gap['dit-t16', 10]} to {gap['dit-t16-local', 10]} dB while test PSNR rises from {test['dit-t16', 10]} "
        f"to {test['dit-t16-local', 10]} dB",
    ):
        assert sentence in text, sentence


MODELS = ("unet-t16", "dit-t16", "dit-t16-local")


def test_what_readme_says_was_found_is_what_the_stored_measurements_say(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = findings.answers(Context("an2024-small", "tabFindings"))
    answers = {f"{one.question.question} **{one.answer.capitalize()}**: {one.difference()}." for one in found}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    said = text.partition("## What was found so far")[2].partition("\n## ")[0]
    lines = [line.removeprefix("* ") for line in said.splitlines() if line.startswith("* ")]
    assert len(lines) == 5 and {*lines} <= answers


def test_what_readme_says_of_the_score_machines():
    table = read_tidy(ROOT / "results" / "baselines" / "kamb2025-small" / "tidy.csv.gz")
    rows = table[(table["metric"] == "agreement_sample_correlation") & (table["train_size"] == 100)]
    rows = rows[(rows["dataset"] == "cifar10-16-grey") & (rows["shuffle"] == 0)].set_index(
        ["model", "split"]
    )["value"]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    resnet, circular = "nf-resnet-t16", "nf-resnet-t16-circular"
    for sentence in (
        f"boundary-broken local score machine by {rows[resnet, 'boundary-broken']:.2f}, with those of the ideal denoiser by "
        f"{rows[resnet, 'ideal']:.2f}",
        f"than the local one, {rows[circular, 'equivariant']:.2f} against {rows[circular, 'local']:.2f}",
        f"A linear filter comes to {rows[resnet, 'linear']:.2f}",
        f"a DiT is farther from the machine: {rows['dit-t16', 'boundary-broken']:.2f}",
    ):
        assert sentence in text, sentence
