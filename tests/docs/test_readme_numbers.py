"""The sentences of README against the stored measurements that they speak of."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.report import claims, findings
from bench.report.context import Context
from bench.report.papers.niedoba2025 import tabA11
from bench.results.tidy import at, read_tidy

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
    test = {(m, n): f"{value('psnr_mean', m, n, 'test'):.2f}" for m in MODELS for n in (10, 1000)}
    linear = f"{value('psnr_mean', 'wiener-pool', 1000, 'test'):.2f}"
    for sentence in (
        f"by {gap['unet-t16', 10]} dB for the UNet and {gap['dit-t16', 10]} dB for the DiT (the *PSNR gap*)",
        f"and {value('memorized_share', 'unet-t16', 10, ''):.1%} of the UNet's samples".replace("%", " %"),
        f"the gap is {gap['unet-t16', 1000]} and {gap['dit-t16', 1000]} dB",
        f"{test['unet-t16', 1000]} and {test['dit-t16', 1000]} dB against {linear} dB",
        f"from {gap['dit-t16', 10]} to {gap['dit-t16-local', 10]} dB while test PSNR rises from {test['dit-t16', 10]} "
        f"to {test['dit-t16-local', 10]} dB",
    ):
        assert sentence in text, sentence


MODELS = ("unet-t16", "dit-t16", "dit-t16-local")


def test_what_readme_says_was_found_is_what_the_stored_measurements_say(monkeypatch, as_stored):
    monkeypatch.chdir(as_stored)
    found = findings.answers(Context("an2024-small", "tabFindings"))
    answers = {
        f"{one.question.question} **{one.answer.capitalize()}**: {one.verdict.difference()}."
        for one in found
        if one.verdict.pooled
    }
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    said = text.partition("## What was found so far")[2].partition("\n## ")[0]
    lines = [line.removeprefix("* ") for line in said.splitlines() if line.startswith("* ")]
    assert len(lines) == 5 and {*lines} <= answers


def stored(suite: str, metric: str, **where: object) -> pd.DataFrame:
    return at(read_tidy(ROOT / "results" / "baselines" / suite / "tidy.csv.gz"), metric=metric, **where)


def said(*sentences: str) -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for sentence in sentences:
        assert sentence in text, sentence


def test_what_readme_says_of_the_score_machines():
    rows = stored("kamb2025-small", "agreement_sample_correlation", dataset="cifar10-16-grey")
    shuffles = rows.groupby(["model", "train_size"])["shuffle"].nunique()
    resnet, unet, circular = "nf-resnet-t16", "nf-unet-t16", "nf-resnet-t16-circular"
    assert {shuffles[one, n] for one in (resnet, unet) for n in (10, 100)} == {3} == {shuffles[circular, 10]}
    assert shuffles[resnet, 300] == shuffles[unet, 300] == 1
    quality = [stored("kamb2025-small", m, split="train") for m in ("psnr_mean", "linear_psnr_mean")]
    both = quality[0].merge(quality[1], on=["dataset", "model", "train_size", "shuffle"])
    both = both[both["dataset"].eq("cifar10-16-grey") & both["model"].str.startswith("nf-")]
    assert 0.25 < (both["value_y"] - both["value_x"]).max() < 0.35
    means = {
        key: f"{value:.2f}"
        for key, value in rows.groupby(["model", "train_size", "split"])["value"].mean().items()
    }
    said(
        f"a correlation of {means[resnet, 100, 'boundary-broken']} with those of the boundary-broken local score machine "
        f"and of {means[resnet, 100, 'ideal']} with those of the ideal denoiser",
        f"did not try, reaches {means[resnet, 100, 'linear']}",
        f"the ResNet stays close to the machine, {means[resnet, 10, 'boundary-broken']} against the filter's "
        f"{means[resnet, 10, 'linear']}, while the UNet does not, {means[unet, 10, 'boundary-broken']}",
        f"closer than the machine to the ResNet, {means[resnet, 300, 'linear']} against "
        f"{means[resnet, 300, 'boundary-broken']}, but not to the UNet, {means[unet, 300, 'linear']} against "
        f"{means[unet, 300, 'boundary-broken']}",
        f"better than the local one, {means[circular, 10, 'equivariant']} against {means[circular, 10, 'local']} at N = 10",
    )


def test_what_readme_says_of_networks_that_agree(monkeypatch, as_stored):
    monkeypatch.chdir(as_stored)
    numbers = tabA11.build(Context("niedoba2025-small", "tabA11")).numbers
    networks = {"unet-t16", "dit-t16", "dit-t16-local"}

    def between(others: set[str]) -> str:
        own = [row.mean for row in numbers.itertuples() if row.first in networks and row.second in others]
        return f"{min(own):.2f} to {max(own):.2f}"

    said(
        f"correlations of {between(networks)} with each other, of {between({'wiener'})} with the linear filter, of "
        f"{between({'local-score-mean'})} with patch posterior means and of {between({'memoriser'})} with the memoriser"
    )


def test_what_readme_says_of_a_planted_covariance():
    share = {
        metric: stored("niedoba2025-small", metric, index=25).groupby("model")["value"].mean()
        for metric in ("sensitivity_pattern", "sensitivity_optimum_pattern")
    }
    own, optimum = share.values()
    said(
        f"{own['unet-t16']:.2f} of the UNet's sensitivity lies on the far part of the letter, {own['dit-t16']:.2f} and "
        f"{own['dit-t16-local']:.2f} of the DiTs', {optimum.mean():.2f} of the optimum's",
    )


def test_what_readme_says_of_the_two_clocks(monkeypatch, as_stored):
    monkeypatch.chdir(as_stored)
    table = claims.measured(Context("bonnaire2025-small", "tabClaims"))
    found = claims.in_measurements(claims.load(), table)
    window, later, wide = (found[f"bon-{key}"] for key in ("window", "copies-later", "wide-copies"))
    assert {one.word for one in (window, later, wide)} == {claims.HOLDS}

    def change(verdict: claims.Verdict) -> str:
        return verdict.difference().partition(" over ")[0]

    said(
        f"samples are best before copies begin ({change(window)} in steps)",
        f"copies begin later with more images ({change(later)} from the smallest to the largest N)",
        f"earlier in a wider network ({change(wide)}), as Bonnaire et al. 2025 found",
    )


def test_what_readme_says_of_disjoint_halves():
    suite, images = "kadkhodaie2024-small", "contours-16"
    cosines = stored(suite, "halves_sample_cosine").groupby(["dataset", "train_size"])["value"].mean()
    own, faces = ([f"{v:.2f}".replace("-", "−") for v in cosines[d]] for d in (images, "celeba-16-grey"))
    network = {"model": "bf-unet-t16-cosine", "train_size": 1000}
    slopes, optima = (
        stored(suite, metric, **network).groupby("dataset")["value"].mean()
        for metric in ("psnr_slope", "psnr_slope_optimal")
    )
    [linear] = stored(suite, "psnr_slope", **network | {"model": "wiener-pool"})["value"]
    rough, smooth = f"{images}-alpha1", f"{images}-alpha3"
    at_steps = {"split": "test", "dataset": images, "shuffle": 0}
    weakest = [
        rows[(rows["index_name"] == "step") & (rows["index"] < 10)]["value"].mean()
        for model in ("bf-unet-t16-cosine", "wiener-pool")
        for rows in [stored(suite, "psnr", **at_steps, **network | {"model": model})]
    ]
    said(
        f"from {own[0]} at N = 1 and {own[1]} at N = 10 to {own[3]} at N = 1,000, "
        f"with {own[2]} at N = 100 in a single shuffle",
        f"in one shuffle, from {faces[0]} to {faces[1]}",
        f"is {slopes[images]:.2f} where the optimum is {optima[images]:.2f}",
        f"{slopes[rough]:.2f} and {slopes[smooth]:.2f} where the optima are {optima[rough]:.2f} and {optima[smooth]:.2f}",
        f"the pool's linear filter is {linear:.2f} where the optimum is {optima[images]:.2f}",
        f"the network is {weakest[0] - weakest[1]:.1f} dB better than that filter (N = 1,000, one shuffle)",
    )
