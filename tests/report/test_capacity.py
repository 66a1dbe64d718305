"""The capacity control: the size whose train PSNR equals the local network's, or why there is none."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from bench.cli import main
from bench.report.tables.tabCapacity import ladder, locals_of, match
from bench.results.tidy import COLUMNS
from bench.suite import plan
from bench.support import paths

SUITE = "sizes"
SIZES = np.array([16.0, 32.0, 48.0, 64.0])


@pytest.mark.parametrize(
    ("values", "target", "size", "low", "high"),
    [
        ([20, 24, 26, 30], 25, 40, 32, 48),
        ([20, 24, 26, 30], 24, 32, 32, 48),  # a size that was trained
        ([20, 24, 26, 30], 29, 60, 48, 64),
        ([20, 28, 22, 30], 26, 56, 48, 64),  # met three times: the largest
    ],
)
def test_the_size_is_interpolated(values, target, size, low, high):
    found = match(SIZES, np.array(values, dtype=float), target)
    assert (found.size, found.low, found.high) == (size, low, high)
    assert ("met 3 times" in found.note) == (values[1] == 28)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (19.0, "not bracketed, size 16 still has 20.00 dB; train a smaller one"),
        (30.0, "nothing to match, the full size has 30.00 dB, not more than the local one"),
        (31.0, "nothing to match"),
    ],
)
def test_no_size_is_named_where_none_is_bracketed(target, words):
    found = match(SIZES, np.array([20.0, 24.0, 26.0, 30.0]), target)
    assert np.isnan([found.size, found.low, found.high]).all() and words in found.note


def models():
    loaded = plan.load(SUITE)
    return loaded, loaded.summary()["models"]


def test_local_presets_and_smaller_siblings_are_found_by_their_options():
    _, presets = models()
    assert locals_of(presets) == [("dit-t16", "dit-t16-local")]
    names = [f"dit-t16-narrow-{w}" for w in (16, 32, 48)]
    assert [*ladder(presets, "dit-t16", "width").items()] == [
        *zip((16, 32, 48), names, strict=True),
        (64, "dit-t16"),
    ]
    assert [*ladder(presets, "dit-t16", "depth")] == [1, 2, 6]
    presets["dit-t16-narrow-16"]["options"]["patch"] = 4  # no longer the same but for its width
    assert [*ladder(presets, "dit-t16", "width")] == [32, 48, 64]


TRAIN = {"width": {16: 20.0, 32: 24.0, 48: 26.0, 64: 30.0}, "depth": {1: 26.0, 2: 28.0, 6: 30.0}}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A function that writes the plan and a tidy table with a given train PSNR of the local network."""
    monkeypatch.chdir(tmp_path)
    loaded, _ = models()
    loaded.write()

    def write(local: float, left_out: tuple[str, ...] = ()) -> None:
        rows = []
        for run in loaded.runs.values():
            options, name = run.model.options, run.model.name
            if name in left_out:
                continue
            axis = "depth" if "shallow" in name else "width"
            train = (
                local if options.get("windows") else TRAIN[axis].get(options.get(axis), 20.0)
            )  # controls have no size
            test = 20 + train / 10 + (options.get("windows") is not None)
            if run.train_size == 1000:
                train -= 3
            for split, value in (("train", train), ("test", test)):
                same = {
                    key: getattr(run, key) for key in ("suite", "dataset", "train_size", "shuffle", "recipe")
                }
                same |= dict.fromkeys(("index_name", "protocol", "code", "data_hash"), "")
                same |= {"model": name, "split": split, "value": value, "unit": "dB"}
                rows += [same | {"metric": metric} for metric in ("psnr", "psnr_mean")]
        table = pd.DataFrame(rows).assign(index=pd.NA)[COLUMNS]
        table.to_csv(paths.tidy_file(SUITE), index=False)

    return write


def text() -> str:
    return (paths.tables_folder(SUITE) / "tabCapacity.md").read_text()


def test_the_table_names_the_size_and_what_it_would_give(place):
    place(local=25.0)
    assert main(["table", "tabCapacity", "--suite", SUITE]) == 0
    lines = text().splitlines()
    assert (
        "| Disks | DiT w/ Local | width 40.0 of 64 (between 32 and 48; build 40) | 10 | 25.00 | 25.00 | **23.50** | 22.50 |"
        in lines
    )
    assert any("| 1,000 | 22.00 | 22.00 | **23.50** | 22.50 |" in line for line in lines)
    assert any("depth: not bracketed, size 1 still has 26.00 dB; train a smaller one" in x for x in lines)
    numbers = pd.read_csv(paths.tables_folder(SUITE) / "tabCapacity.csv")
    assert numbers["size"].tolist()[:2] == [40.0, 40.0] and numbers["size"].isna().sum() == 2
    assert "The paper's own" not in text()


def test_nothing_to_match_is_said(place):
    place(local=31.0)
    assert main(["table", "tabCapacity", "--suite", SUITE]) == 0
    assert text().count("nothing to match") == 4


def test_missing_sizes_are_named(place):
    place(local=25.0, left_out=("dit-t16-narrow-48",))
    assert main(["table", "tabCapacity", "--suite", SUITE]) == 0
    assert "between 32 and 64" in text()
    assert re.search(r"Not measured yet: 2 of \d+ planned runs \(DiT, width 48 at N = 10, 1,000\)\.", text())


@pytest.mark.parametrize("left", [("dit-t16-local",), ("dit-t16",)])
def test_a_suite_without_the_pair_says_what_it_needs(place, capsys, left):
    place(local=25.0, left_out=left)
    assert main(["table", "tabCapacity", "--suite", SUITE]) == 1
    assert "needs a model, its local variant and at least one smaller sibling" in capsys.readouterr().err
