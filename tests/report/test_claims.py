"""Claims: the YAML is checked strictly, printed numbers give the known verdicts, measured ones need shuffles."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from synthetic import make

from bench.cli import main
from bench.report import claims, literature
from bench.report.literature import COLUMNS, PRINTED, numbers
from bench.results.statistics import WEIGHT
from bench.suite import config
from bench.support import paths
from bench.support.errors import BenchError

SIDE = {"metric": "psnr_gap_mean", "role": ""}
BASE = {"sentence": "The gap is small at large N.", "source": "here", "version": "all", "relation": "<"}


@pytest.fixture(scope="module")
def printed():
    return numbers()


def claim(**changes) -> claims.Claim:
    return claims.read_claim(BASE | {"left": SIDE, "right": 1.0} | changes, "x", "x/claims.yaml: c")


def frame(values: dict, **same) -> pd.DataFrame:
    """Rows (role, train_size, shuffle) -> value of one model and its variants."""
    empty = dict.fromkeys(COLUMNS, "") | {"dataset": "Disks", "root": "dit", "family": "dit", "index": pd.NA}
    rows = [
        empty | {"metric": "psnr_gap_mean", "role": v, "label": f"DiT {v}".strip(), "train_size": n, "shuffle": s}
        | {"value": value} | same
        for (v, n, s), value in values.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)[COLUMNS]


def test_there_are_enough_claims_of_every_paper():
    loaded = claims.load()
    assert len(loaded) >= 40
    assert {c.paper for c in loaded.values()} >= {"an2024", "kadkhodaie2024", "peebles2022", "tian2024"}
    assert {c.version for c in loaded.values()} == {"all", "v1", "neurips2025"}


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("an-local-gap-few", "holds"),
        ("an-local-gap", "mixed"),  # no cut is visible at N = 100,000
        ("an-local-fid-few", "holds"),
        ("an-local-fid-many", "mixed"),
        ("an-head-mix-gap", "mixed"),  # ImageNet at N = 10,000
        ("an-tail-worse", "holds"),
        ("an-any-window-helps", "mixed"),  # CelebA at N = 10,000
        ("an-dit-smaller-gap", "holds"),
        ("an-parameters-v1", "not run"),  # a printed number is no evidence of itself
        ("an-parameters-neurips", "not run"),
        ("an-attention-local", "not run"),
        ("udit-sixth", "fails"),  # 22.22 against 118.68 / 6 = 19.78
        ("udit-equal-cost", "holds"),
        ("dit-zero-cross", "holds"),
        ("kad-slope-optimal", "holds"),
    ],
)
def test_verdicts_on_printed_numbers(key, word, printed):
    assert claims.in_print(claims.load()[key], printed).word == word


def test_the_counter_cell_is_named(printed):
    verdict = claims.in_print(claims.load()["an-head-mix-gap"], printed)
    assert "ImageNet" in verdict.text() and "0.74 against 0.6" in verdict.text()
    assert sum(c.word == "holds" for c in verdict.cells) == 3


def test_printed_rows_are_complete(printed):
    table = printed
    cells = table[(table["metric"] == "fid") & (table["paper"] == "an2024") & (table["role"] == "local")]
    assert len(cells) == 48  # 2 models x 2 runs x 6 datasets x 2 N
    assert not table["value"].isna().any()


def test_the_relation_and_its_tolerance():
    left, right = SIDE | {"role": "x"}, SIDE
    table = frame({("", 10, 0): 1.0, ("x", 10, 0): 0.9, ("", 100, 0): 2.0, ("x", 100, 0): 2.1})
    words = {
        (relation, tolerance): claims.in_print(
            claim(left=left, right=right, relation=relation, tolerance=tolerance), table
        ).word
        for relation, tolerance in (("<", 0.0), ("<", -0.2), ("<", 0.2), (">", 0.0), ("~", 0.2), ("~", "6%"))
    }
    assert words == {
        ("<", 0.0): "mixed",
        ("<", -0.2): "holds",
        ("<", 0.2): "fails",
        (">", 0.0): "mixed",
        ("~", 0.2): "holds",
        ("~", "6%"): "mixed",
    }
    some = claim(left=left, right=right, scope={"any": True})
    assert claims.in_print(some, table).word == "holds"


def measured(case, table) -> claims.Verdict:
    return claims.in_measurements({"c": case}, table)["c"]


def test_a_measured_claim_is_one_pooled_test_over_paired_shuffles():
    side = {"metric": "psnr_mean", "role": ""}
    case = claim(left=side | {"role": "x"}, right=side)
    one = frame({("", 10, 0): 1.0, ("x", 10, 0): 0.5}, metric="psnr_mean")
    assert measured(case, one).word == "too few shuffles"
    # the spread between shuffles is ten times the effect; paired, the effect is clear
    pairs = {("", n, s): 10.0 * s for s in range(3) for n in (10, 100)}
    pairs |= {("x", n, s): 10.0 * s - 1 - 0.01 * s for s in range(3) for n in (10, 100)}
    found = measured(case, frame(pairs, metric="psnr_mean"))
    assert found.word == "holds" and found.pooled.count == 3 and len(found.cells) == 2
    assert (
        found.text()
        == "left minus right −1.01 dB [−1.03 dB, −0.985 dB] over 3 dataset-shuffle pairs; 2 of 2 cells as claimed"
    )
    noisy = {("", 10, s): 0.0 for s in range(3)} | {("x", 10, s): v for s, v in enumerate((-1, 1, -0.5))}
    assert measured(case, frame(noisy, metric="psnr_mean")).word == "no difference shown"
    alone = pairs | {("x", 10, 7): -1000.0}  # a shuffle without its partner does not count
    assert measured(case, frame(alone, metric="psnr_mean")).pooled.count == 3
    cost = claim(left={"metric": "parameters", "role": ""}, right=5.0)
    assert measured(cost, frame({("", 10, 0): 4.0}, metric="parameters")).word == "holds"


def test_claims_of_one_paper_are_corrected_for_their_number():
    table = frame(
        {("", 10, s): 1.0 for s in range(3)} | {("x", 10, s): v for s, v in enumerate((0.5, 0.62, 0.7))}
    )
    case = claim(left=SIDE | {"role": "x"}, right=SIDE)
    assert measured(case, table).word == "holds"
    many = claims.in_measurements({str(i): case for i in range(40)}, table)
    assert {verdict.word for verdict in many.values()} == {"no difference shown"}


def test_variants_lend_each_other_their_variance():
    """Three variants are three pairs: the prior that moderates the pooled test. A network of another root lends nothing."""
    draw, shuffles = np.random.default_rng(0), range(3)
    values = {(role, 10, s): 1.0 + 0.1 * draw.normal() for role in ("", "local", "mix") for s in shuffles}
    values |= {
        ("local", 10, s): values["", 10, s] - 0.2 + 0.001 * s for s in shuffles
    }  # by luck hardly spread
    table = frame(values)
    windows = claim(left=SIDE | {"role": "local"}, right=SIDE)
    alone = measured(windows, table[table["role"] != "mix"]).pooled
    among = measured(windows, table).pooled
    assert alone.freedom == 2 and 2 < among.freedom <= 2 + WEIGHT
    assert among.mean == pytest.approx(alone.mean) and among.error > 1.5 * alone.error
    stranger = frame({("", 10, s): 2.0 + s for s in shuffles}, root="unet", family="unet", label="UNet")
    with_stranger = measured(windows, pd.concat([table, stranger])).pooled
    assert with_stranger.error == pytest.approx(among.error)


def test_sizes_and_indices():
    table = frame({("", n, 0): n for n in (10, 100, 1000)})
    growing = claim(
        left=SIDE | {"train_size": "largest"}, right=SIDE | {"train_size": "smallest"}, relation=">"
    )
    cell = claims.in_print(growing, table).cells[0]
    assert (cell.left, cell.right) == (1000, 10) and "1,000 against 10" in cell.where
    layers = pd.concat([frame({("", 10, 0): float(i)}, index=i) for i in range(1, 4)])
    first = claim(left=SIDE | {"index": "first"}, right=SIDE | {"index": "last"})
    cell = claims.in_print(first, layers).cells[0]
    assert (cell.left, cell.right) == (1, 3)


def test_permuted_pixels_are_evidence_of_permutation_alone():
    table = pd.concat([frame({("", 10, 0): 1.0}), frame({("", 10, 0): 2.0}, dataset="Disks, permuted")])
    case = claim(left=SIDE, right=SIDE | {"permuted": True})
    assert claims.in_print(case, table).word == "holds"
    (cell,) = claims.in_print(claim(right=1.5), table).cells
    assert cell.left == 1 and "permuted" not in cell.where


def test_a_verdict_counts_its_cells():
    cells = [claims.Cell("here", 1.0, 2.0, 3, word) for word in ("holds", "fails")]
    verdict = claims.Verdict("mixed", cells)
    assert verdict.summary() == "mixed" and verdict.text() == "1 holds, 1 fails (here: 1 against 2)"


def test_few_images_are_fewer_than_the_most_of_a_dataset():
    table = pd.concat(
        [frame({("", n, 0): 0.5 for n in (10, 1000)}), frame({("", 100, 0): 0.5}, dataset="Faces")]
    )
    (cell,) = claims.in_print(claim(scope={"train_sizes": "few"}), table).cells
    assert "Disks" in cell.where and "N = 10" in cell.where and "1,000" not in cell.where


def test_a_factor_is_printed_as_one():
    table = frame({("", 10, 0): 100.0, ("x", 10, 0): 115.0})
    case = claim(left=SIDE | {"role": "x"}, right=SIDE | {"times": 1.15}, relation="~", tolerance="1%")
    verdict = claims.in_print(case, table)
    assert verdict.word == "holds" and "115 against 1.15 × 100" in verdict.text()


def test_steps_of_one_factor_at_two_scales_are_compared_by_their_ratio():
    steps = {
        (role, n, s): n * scale * (1 + 0.01 * s)
        for role, scale in (("", 1.0), ("x", 2.0))
        for n in (10, 1000)
        for s in range(3)
    }
    tables = [frame(steps, metric="memorization_step", dataset=name) for name in ("Disks", "Haar")]
    tables[1]["value"] *= 50
    side = {"metric": "memorization_step"}
    asked = {"left": side | {"role": "x"}, "right": side | {"role": ""}, "relation": ">"}
    plain, ratio = (measured(claim(**asked, ratio=ratio), pd.concat(tables)) for ratio in (False, True))
    assert (plain.word, ratio.word) == ("no difference shown", "holds")
    assert ratio.difference().startswith("+100 % [")


def test_the_protocol_that_was_measured_is_taken_and_named():
    values = {("", 10, s): 0.5 for s in range(2)}
    table = frame(values, protocol="operator=x0;step=7;image=0")
    wanted = ["operator=eps;step=7", "operator=x0;step=7"]
    (cell,) = measured(claim(scope={"protocol": wanted}), table).cells
    assert cell.word == "holds" and cell.where.endswith("operator=x0, step=7")
    assert measured(claim(scope={"protocol": wanted[0]}), table).word == "not run"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"relatoin": "<"}, "unknown key 'relatoin' .did you mean 'relation'"),
        ({"relation": "="}, "relation"),
        ({"left": {"metric": "psnr_gap_men"}}, "left: .*did you mean 'psnr_gap_mean'"),
        ({"left": SIDE | {"rloe": "x"}}, "left: unknown key 'rloe'"),
        ({"left": SIDE | {"family": "ditt"}}, "left: there is no family 'ditt' .did you mean 'dit'"),
        ({"sentence": "Gap shrinks."}, "sentence must have four words or more, not 'Gap shrinks.'"),
        ({"left": SIDE | {"family": []}}, "left: there is no family ''"),
        ({"left": SIDE | {"split": "tset"}}, "left: there is no split 'tset' .did you mean 'test'"),
        ({"tolerance": "5 per cent"}, "tolerance"),
        ({"right": SIDE}, "left and right are the same"),
        ({"version": "v3"}, "version"),
        ({"ratio": True, "right": 3.0}, "ratio compares two sides without a tolerance"),
        ({"scope": {"dataset": ["x"]}}, "unknown key 'scope.dataset'"),
    ],
)
def test_a_bad_claim_is_one_sentence(change, words):
    with pytest.raises(BenchError, match=words) as caught:
        claim(**change)
    assert "claims.yaml: c" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"left": SIDE | {"role": "locl"}}, "left: there is no role 'locl' .did you mean 'local'"),
        (
            {"right": SIDE | {"label": ["DiT", "UNte"]}},
            "right: there is no label 'UNte' .did you mean 'UNet'",
        ),
        (
            {"scope": {"datasets": ["CelebA", "CIFAR10"]}},
            "scope: there is no dataset 'CIFAR10' .did you mean",
        ),
    ],
)
def test_a_name_that_no_row_has_is_refused_and_not_merely_never_run(change, words):
    claims.check_names({"c": claim()})
    with pytest.raises(BenchError, match=f"^c: {words}"):
        claims.check_names({"c": claim(**change)})


ROW = dict.fromkeys(PRINTED, "") | {
    "table": "Table 1",
    "model": "DiT",
    "family": "dit",
    "dataset": "CelebA",
    "tag": "V",
}
ROW |= {"train_size": "1000", "split": "train-test", "metric": "psnr_gap_mean", "value": "5", "unit": "dB"}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([ROW | {"metric": "psnr_gap_maen"}], "line 2: there is no metric 'psnr_gap_maen' .did you mean"),
        ([ROW, ROW | {"split": "trian-test"}], "line 3: there is no split 'trian-test'"),
        ([ROW | {"family": "ditt"}], "there is no family 'ditt'"),
        ([ROW | {"version": "v99"}], "there is no version 'v99'"),
        ([ROW | {"tag": "Q"}], "there is no tag 'Q'"),
        ([ROW | {"unit": "percent"}], "line 2: the unit is 'dB', not 'percent'"),
        ([ROW | {"train_size": "-5"}], "train_size cannot be -5"),
        ([ROW, ROW | {"value": "6"}], "lines 2 and 3 give one number two values"),
    ],
)
def test_a_printed_number_that_none_can_be_is_one_sentence(rows, words, tmp_path, monkeypatch):
    folder = tmp_path / "papers" / "me2026"
    folder.mkdir(parents=True)
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path))
    pd.DataFrame(rows).to_csv(folder / "published.csv", index=False)
    with pytest.raises(BenchError, match=words):
        literature.printed("me2026")


def test_a_missing_key_is_named():
    with pytest.raises(BenchError, match="'sentence' is missing"):
        claims.read_claim({"source": "x"}, "x", "x/claims.yaml: c")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Synthetic measurements of the paper suite, without arrays."""
    monkeypatch.chdir(tmp_path)
    make("paper", arrays=False)
    return tmp_path


def test_the_table_and_the_verb(place, capsys):
    assert main(["table", "tabClaims", "--suite", "paper"]) == 0
    numbers = pd.read_csv(paths.tables_folder("paper") / "tabClaims.csv")
    assert set(numbers["claim"]) == set(claims.load())
    own = numbers[(numbers["numbers"] == "measured") & (numbers["claim"] == "an-local-gap")]
    assert set(own["verdict"]) <= {
        "too few shuffles",
        "holds",
        "fails",
        "no difference shown",
    }  # the synthetic variants have one shuffle
    capsys.readouterr()
    assert main(["claims", "--suite", "paper", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert {r["numbers"] for r in records} == {"printed", "measured"}


def test_claims_without_a_suite_need_no_results_and_no_torch(tmp_path):
    code = "import sys; from bench.cli import main; assert main(['claims']) == 0; sys.exit('torch' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "an-local-gap\tmixed\tnot run\t" in done.stdout


def test_a_broken_file_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "folder", lambda: tmp_path)
    folder = tmp_path / "papers" / "x"
    folder.mkdir(parents=True)
    (folder / "about.yaml").write_text("cite: X 2024\ntitle: T\nlink: L\nnote: N\n")
    (folder / "claims.yaml").write_text("a: [1]")
    with pytest.raises(BenchError, match="claims.yaml: a"):
        claims.load()
