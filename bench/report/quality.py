"""Is what a suite measured possible, and was it trained enough? Judged against the controls. Torch-free.

A check **fails** only what is impossible: a network closer to its N images than their posterior mean, closer to test images
than the family's known optimum, a share above 1.  What is merely poor is **noted**, with its numbers.

The bounds are bounds on squared errors, not on PSNR, whose logarithm rewards gambling.  Networks and controls meet the same
images and noise, so differences are taken image by image; one counts where its mean is beyond ``SIGMAS`` standard errors
and ``MARGIN`` of the bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.data import optima
from bench.report.context import RUN, Context, run_key
from bench.results.training_state import SETTLED
from bench.suite.options import HALF_BUDGET
from bench.support import paths

SIGMAS = 5.0
MARGIN = (
    0.05  # of the squared error, 0.22 dB: uint8 clips a field's tails, which its closed form does not know
)
FEWEST = 8  # images behind a standard error
CEILING = 10 * math.log10(12 * 255**2)  # dB, the rounding error of uint8
INITIAL = 0.01  # share of the initialisation that an averaged network may hold
COPIES = 0.01  # share of test images that may look like copies

FAIL, NOTE, PASS, UNCHECKED = "fail", "note", "pass", "unchecked"

SHARE, POSITIVE = (0.0, 1.0), (0.0, math.inf)
BOUNDS = {
    "psnr": (-math.inf, CEILING),
    "psnr_mean": (-math.inf, CEILING),
    "psnr_gap": POSITIVE,
    "jacobian_singular_value": POSITIVE,
    "jacobian_asymmetry": (0.0, 2.0),
    "jacobian_participation": SHARE,
    "jacobian_overlap_pca": SHARE,
    "jacobian_overlap_dct": SHARE,
    "jacobian_train_share": SHARE,
    "attention_distance": POSITIVE,
    "attention_entropy": POSITIVE,
    "attention_mass_w3": SHARE,
    "attention_mass_w5": SHARE,
    "attention_mass_w7": SHARE,
    "frechet": POSITIVE,
    "fid": POSITIVE,
    "memorized_share": SHARE,
    "nearest_distance": POSITIVE,
    "nearest_ratio": SHARE,
    "halves_eps_cosine": (-1.0, 1.0),
    "halves_x0_cosine": (-1.0, 1.0),
    "halves_sample_cosine": (-1.0, 1.0),
    "loss": POSITIVE,
    "macs": POSITIVE,
}
SLACK = 1e-5  # relative to 1, for rounding


@dataclass(frozen=True)
class Finding:
    """One check of one run: ``value`` was measured, ``bound`` is what it was compared with (NaN: none), in ``unit``."""

    run: str
    check: str
    verdict: str
    text: str
    value: float = math.nan
    bound: float = math.nan
    unit: str = ""


class Suite:
    """What a suite measured, by run: rows of the tidy table, and PSNR of single images."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.specs = {r["name"]: r for r in context.plan["runs"] if not r["recipe"].endswith(HALF_BUDGET)}
        self.tables = dict(iter(context.table.groupby([*RUN, "metric"])))
        self.none = context.table.iloc[:0]
        self._errors: dict[str, dict[str, np.ndarray]] = {}

    def rows(self, run: str, metric: str, split: str | None = None) -> pd.DataFrame:
        """Return a run's rows of a metric; none if it was not measured."""
        table = self.tables.get((*run_key(self.specs[run]), metric), self.none)
        return table if split is None else table[table["split"] == split]

    def value(self, run: str, metric: str, split: str | None = None) -> float:
        """Return a run's one value of a metric, NaN if there is none."""
        found = self.rows(run, metric, split)["value"]
        return float(found.iloc[0]) if len(found) else math.nan

    def errors(self, run: str) -> dict[str, np.ndarray]:
        """Return the mean squared error (K, S), peak 1, of single images by split, and ``sigma`` (S,), the noise relative
        to the image; empty if none were kept."""
        if run not in self._errors:
            file = paths.stored_run(self.context.suite, run) / "psnr.npz"
            arrays = {}
            if file.exists():
                with np.load(file, allow_pickle=False) as opened:
                    arrays = {split: 10 ** (-opened[split].astype(float) / 10) for split in ("train", "test")}
                    arrays["sigma"] = opened["sigma"]
            self._errors[run] = arrays
        return self._errors[run]

    def control(self, run: str, family: str) -> str | None:
        """Return the run of a control on the same images: dataset, N, shuffle, half and protocol of the PSNR."""
        same = ("dataset", "train_size", "shuffle", "half")
        own = self.specs[run]
        for name, spec in self.specs.items():
            if spec["model"]["family"] == family and all(spec[key] == own[key] for key in same):
                protocols = [self.rows(r, "psnr_mean", "test")["protocol"].tolist() for r in (run, name)]
                if protocols[0] and protocols[0] == protocols[1]:
                    return name
        return None


def judge(context: Context) -> list[Finding]:
    """Return every check of every run of a suite that was measured."""
    suite = Suite(context)
    return [finding for run in suite.specs for check in CHECKS for finding in check(suite, run)]


def check_range(suite: Suite, run: str) -> Iterator[Finding]:
    """Values outside what their metric can be."""
    seen = 0
    for metric, (low, high) in BOUNDS.items():
        rows = suite.rows(run, metric)
        if not len(rows):
            continue
        seen += len(rows)
        slack = SLACK * max(1.0, abs(high) if math.isfinite(high) else 1.0)
        values = rows["value"].to_numpy()
        bad = rows[(values < low - slack) | (values > high + slack)]
        if len(bad):
            row, bound = bad.iloc[0], low if bad.iloc[0]["value"] < low else high
            word = "below" if row["value"] < low else "above"
            text = f"{metric} is {row['value']:.6g}, {word} {bound:.6g}, which is impossible"
            yield Finding(run, "range", FAIL, text, row["value"], bound, row["unit"])
            return
    if seen:
        yield Finding(run, "range", PASS, f"{seen} values are in range", seen)


def check_jacobian(suite: Suite, run: str) -> Iterator[Finding]:
    """The largest eigenvalue of the symmetric part is at most the largest singular value."""
    values, singular = (
        suite.rows(run, m).query("index == 0").set_index("protocol")["value"]
        for m in ("jacobian_eigenvalue", "jacobian_singular_value")
    )
    if not len(values):
        return
    excess = values - singular * 1.01 - 1e-6
    worst = excess.idxmax()
    verdict = FAIL if excess[worst] > 0 else PASS
    word = "above" if verdict == FAIL else "at most"
    text = f"largest eigenvalue {values[worst]:.4g}, {word} the largest singular value {singular[worst]:.4g} ({worst})"
    yield Finding(run, "jacobian", verdict, text, values[worst], singular[worst])


def check_memoriser(suite: Suite, run: str) -> Iterator[Finding]:
    """No estimate of the N images from noise is closer to them than their posterior mean."""
    own = suite.errors(run).get("train")
    if own is None or suite.specs[run]["model"]["family"] == "memoriser":
        return
    control = suite.control(run, "memoriser")
    best = suite.errors(control).get("train") if control else None
    if best is None:
        text = "no memoriser with the same images, N, shuffle and protocol was measured; add it to the suite"
        yield Finding(run, "train optimum", UNCHECKED, text)
    else:
        yield _against(run, "train optimum", own, best, "the memoriser's")


def check_optimum(suite: Suite, run: str) -> Iterator[Finding]:
    """No estimate of test images is closer to them than the optimum, where the family's is known."""
    spec, own = suite.specs[run], suite.errors(run).get("test")
    dataset = suite.context.plan["datasets"][spec["dataset"]]
    optimum = optima.optimum(dataset)
    if own is None or optimum is None:
        return
    # the network sees [-1, 1]: peak 1 halves the noise
    best = np.array([optimum(sigma / 2) for sigma in suite.errors(run)["sigma"]])
    yield _against(
        run, "test optimum", own, np.broadcast_to(best, own.shape), f"the optimum of {dataset['title']}"
    )


def _against(run: str, check: str, own: np.ndarray, best: np.ndarray, whose: str) -> Finding:
    """Compare squared errors (K, S) with the least possible (K, S), at each step."""
    if len(own) < FEWEST:
        return Finding(
            run, check, UNCHECKED, f"{len(own)} images are too few for a standard error; measure {FEWEST}"
        )
    gain = best - own
    error = gain.std(axis=0, ddof=1) / math.sqrt(len(gain))
    low = gain.mean(0) - SIGMAS * np.maximum(error, 1e-12) - MARGIN * best.mean(0)
    step = int(np.argmax(low / best.mean(0)))
    value, bound = (-10 * math.log10(errors[:, step].mean()) for errors in (own, best))
    verdict = FAIL if low[step] > 0 else PASS
    word = "above" if verdict == FAIL else "within"
    text = f"{value:.2f} dB (of the mean squared error) at step {step}, {word} {whose} {bound:.2f} dB"
    return Finding(run, check, verdict, text, value, bound, "dB")


def check_trained(suite: Suite, run: str) -> Iterator[Finding]:
    """A network should have learned what its budget allows: its state, read from its own curve."""
    if suite.context.is_control(suite.specs[run]["model"]["name"]):
        return
    found = suite.context.word(suite.specs[run])
    if found is None or not found.word:
        yield Finding(run, "trained", UNCHECKED, found.why if found else "the run was not measured")
    else:
        yield Finding(run, "trained", PASS if found.word == SETTLED else NOTE, f"{found.word}: {found.why}")


def check_identity(suite: Suite, run: str) -> Iterator[Finding]:
    """A network should be closer to test images than the noisy image itself."""
    own, control = suite.value(run, "psnr_mean", "test"), suite.control(run, "identity")
    if suite.context.is_control(suite.specs[run]["model"]["name"]) or math.isnan(own):
        return
    if control is None:
        text = "no identity with the same images, N, shuffle and protocol was measured; add it to the suite"
        yield Finding(run, "test above identity", UNCHECKED, text)
        return
    bound = suite.value(control, "psnr_mean", "test")
    text = f"test PSNR {own:.2f} dB, that of the noisy image is {bound:.2f} dB"
    yield Finding(run, "test above identity", PASS if own >= bound else NOTE, text, own, bound, "dB")


def check_average(suite: Suite, run: str) -> Iterator[Finding]:
    """Measured weights are averages: after too short a training they still contain the initialisation."""
    spec = suite.specs[run]
    if suite.context.is_control(spec["model"]["name"]):
        return
    training, step = spec["training"], np.arange(spec["training"]["steps"])
    rising = (1 + step) / (10 + step) if training.get("ema_ramp") else math.inf
    share = float(np.prod(np.minimum(training["ema"], rising) * np.ones(len(step))))
    verdict = PASS if share <= INITIAL else NOTE
    text = f"the averaged weights contain {share:.2%} of the initialisation (decay {training['ema']})"
    yield Finding(run, "average", verdict, text, share, INITIAL)


def check_loss(suite: Suite, run: str) -> Iterator[Finding]:
    """A loss of 1 is that of predicting no noise at all; other targets and weightings have another scale."""
    training = suite.specs[run]["training"]
    if training.get("prediction", "eps") != "eps" or training.get("weighting", "own") not in ("own", "eps"):
        return
    if not math.isnan(loss := suite.value(run, "loss")):
        verdict = PASS if loss < 1 else NOTE
        yield Finding(
            run, "loss", verdict, f"last training loss {loss:.3g}, predicting zero gives 1", loss, 1.0
        )


def check_gap(suite: Suite, run: str) -> Iterator[Finding]:
    """Test images that are easier than train images say that the pools differ, not that the network generalizes."""
    errors = suite.errors(run)
    if not errors or len(errors["train"]) < FEWEST:
        return
    signed = -10 * (np.log10(errors["train"]) - np.log10(errors["test"])).mean(1)  # by image
    mean, error = signed.mean(), signed.std(ddof=1) / math.sqrt(len(signed))
    verdict = NOTE if mean < -3 * error - 1e-9 else PASS
    text = f"train minus test PSNR {mean:.2f} ± {error:.2f} dB (standard error over images)"
    text += ": the test images are easier" if verdict == NOTE else ""
    yield Finding(run, "pools", verdict, text, mean, 0.0, "dB")


def check_copies(suite: Suite, run: str) -> Iterator[Finding]:
    """Test images cannot be copies: those that look like copies say how far the criterion can be trusted."""
    rows = suite.rows(run, "memorized_share", "test")
    if len(rows):
        row = rows.loc[rows["value"].idxmax()]
        verdict = PASS if row["value"] <= COPIES else NOTE
        text = f"{row['value']:.1%} of the test images look like copies ({row['protocol'].split(';')[0]})"
        yield Finding(run, "copies", verdict, text, row["value"], COPIES)


CHECKS = (
    check_range, check_jacobian, check_memoriser, check_optimum, check_trained, check_identity, check_average,
    check_loss, check_gap, check_copies,
)  # fmt: skip
