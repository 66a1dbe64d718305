"""Items are pure functions of the tidy table: same bytes, right numbers, no torch, clear errors."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bench.cli import main
from bench.report.context import Context
from bench.report.items import ITEMS
from bench.report.markup import latex
from bench.report.paired import percent
from bench.report.style import drawable
from bench.results.tidy import COLUMNS, METRICS, combine, read_tidy
from bench.suite import plan
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import write_json

SUITE = "smoke"


def row(run, metric, value, split="", index_name="", index=None, protocol=""):
    same = {key: getattr(run, key) for key in ("suite", "dataset", "train_size", "shuffle", "recipe")}
    return same | {
        "model": run.model.name, "metric": metric, "value": value, "split": split, "index_name": index_name,
        "index": index, "protocol": protocol, "unit": METRICS[metric][0], "code": "c", "data_hash": "d",
    }  # fmt: skip


def measured(run):
    """Plausible rows of one run."""
    local, gap = "local" in run.model.name, 300 / run.train_size
    for step in range(5):
        test = 40 - 7 * step
        yield row(run, "psnr", test + gap, "train", "step", step, "images=8;steps=5;clip=true")
        yield row(run, "psnr", test, "test", "step", step, "images=8;steps=5;clip=true")
        yield row(run, "psnr_gap", gap, "train-test", "step", step, "images=8;steps=5;clip=true")
    yield row(run, "psnr_gap_mean", gap * (0.8 if local else 1), "train-test")
    yield row(run, "psnr_mean", 26.0, "test")
    yield row(
        run,
        "frechet",
        (2.0 if local else 2.5) if run.train_size == 10 else 1.0 + local,
        protocol="features=x",
    )
    for k in range(64):
        yield row(run, "jacobian_eigenvalue", 1 / (k + 1), "test", "k", k, "operator=x0;step=1;image=0")
    yield row(run, "jacobian_asymmetry", 0.1, "test", protocol="operator=x0;step=1;image=0")
    for layer in (1, 2, 3):
        yield row(run, "attention_distance", 2.0, "test", "layer", layer, "images=2")


def write_arrays(folder, rng):
    folder.mkdir(parents=True)
    np.savez(
        folder / "jacobian.npz",
        images=rng.integers(0, 256, (1, 8, 8, 1), dtype=np.uint8),
        noisy_1=rng.integers(0, 256, (1, 8, 8, 1), dtype=np.uint8),
        vectors=np.array([0, 7, 14]),
        **{f"eigenvalues_{o}_1_0": np.linspace(1, 0, 64) for o in ("eps", "x0")},
        **{f"eigenvectors_{o}_1_0": rng.standard_normal((3, 8, 8, 1)) for o in ("eps", "x0")},
    )
    maps = rng.random((3, 16, 16))
    np.savez(
        folder / "attention.npz", maps=maps, layers=np.array([1, 2, 3]), windows=np.array([3, 0, 0]),
        grid=np.array([4, 4]), token=np.array(10),
    )  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A suite's stored measurements, without any training."""
    monkeypatch.chdir(tmp_path)
    suite = plan.load(SUITE)
    summary = suite.summary()
    summary["items"] |= dict.fromkeys(("fig1", "fig5"), summary["items"]["fig6"])
    write_json(paths.plan_file(SUITE), summary)
    rng = np.random.default_rng(0)
    table = pd.DataFrame([r for run in suite.runs.values() for r in measured(run)])[COLUMNS]
    table["index"] = table["index"].astype("Int64")
    table.to_csv(paths.tidy_file(SUITE), index=False)
    for name in suite.runs:
        write_arrays(paths.arrays_folder(SUITE, name), rng)
    return tmp_path


def files(item):
    folder = paths.figures_folder(SUITE) if ITEMS[item].kind == "figure" else paths.tables_folder(SUITE)
    return sorted(folder.glob(f"{item}.*"))


@pytest.mark.parametrize("item", ["fig1", "fig2", "fig3", "fig4", "fig5", "fig6", "tab1"])
def test_every_item_is_drawn_twice_with_the_same_bytes(place, item):
    hashes = []
    for _ in range(2):
        assert main([ITEMS[item].kind, item, "--suite", SUITE]) == 0
        assert len(files(item)) == (4 if ITEMS[item].kind == "figure" else 6)
        hashes.append([hashlib.sha256(f.read_bytes()).hexdigest() for f in files(item)])
        for file in files(item):
            file.unlink()
    assert hashes[0] == hashes[1]


def test_drawing_needs_no_torch(place):
    code = (
        "import sys; from bench.cli import main; assert main(['figure', 'fig2', '--suite', 'smoke']) == 0; "
        "assert main(['table', 'tab1', '--suite', 'smoke']) == 0; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_planning_needs_no_torch():
    code = "import sys; from bench.suite import plan; plan.load('paper').summary(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_table_numbers_signs_and_bold(place):
    main(["table", "tab1", "--suite", SUITE])
    text = (paths.tables_folder(SUITE) / "tab1.md").read_text()
    assert "| Disks | DiT → w/ Local | 10 | 2.5000 | **2.0000** | −20.00% | −0.500 | −6.00 | +0.00 |" in text
    assert "| Disks | DiT → w/ Local | 100 | **1.0000** | 2.0000 | +100.00% |" in text
    assert "not a FID" in text and "windows" not in text.lower().replace("windows: w/ local, 3,3,5", "")
    tex = (paths.tables_folder(SUITE) / "tab1.tex").read_text()
    assert r"\textbf{2.0000} & \ensuremath{-}20.00\%" in tex and r"\toprule" in tex


def test_percent_matches_the_papers_own_and_its_misprint():
    assert percent(9.6932, 8.4580) == "−12.74%"
    assert percent(2.3278, 2.3321) == "+0.18%"
    assert percent(5.2927, 5.2672) == "−0.48%"  # the paper prints -0.97%


def test_the_sidecar_names_inputs_and_hashes(place):
    main(["figure", "fig6", "--suite", SUITE])
    sidecar = json.loads((paths.figures_folder(SUITE) / "fig6.json").read_text())
    tidy = paths.tidy_file(SUITE)
    assert sidecar["inputs"][str(tidy)] == hashlib.sha256(tidy.read_bytes()).hexdigest()
    assert "1 shuffle" in sidecar["caption"] and "test PSNR" in sidecar["caption"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t.drop(columns="unit"), "lacks the column 'unit'"),
        (lambda t: t.replace({"metric": {"psnr": "psnrr"}}), "unknown metric 'psnrr' .did you mean 'psnr'"),
        (lambda t: pd.concat([t, t[:1]]), "is listed twice"),
        (lambda t: t.assign(value=np.nan), "has no value"),
        (lambda t: t[t["metric"] != "psnr"], "needs psnr .*which the tidy table lacks"),
    ],
)
def test_a_bad_tidy_table_is_one_sentence(place, capsys, spoil, words):
    tidy = paths.tidy_file(SUITE)
    spoil(read_tidy(tidy)).to_csv(tidy, index=False)
    assert main(["figure", "fig2", "--suite", SUITE]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(words, error), error
    assert not files("fig2")


def test_the_caption_names_the_runs_that_were_not_measured(place):
    tidy = paths.tidy_file(SUITE)
    table = read_tidy(tidy)
    table[(table["model"] != "unet-t16") | (table["train_size"] != 10)].to_csv(tidy, index=False)
    main(["figure", "fig2", "--suite", SUITE])
    caption = json.loads((paths.figures_folder(SUITE) / "fig2.json").read_text())["caption"]
    assert re.search(r"Not measured yet: 1 of \d+ planned runs \(UNet at N = 10\)\.", caption)


def test_unknown_item(place, capsys):
    assert main(["figure", "fig22", "--suite", SUITE]) == 1
    assert "did you mean 'figA22'?" in capsys.readouterr().err


def test_combining_keeps_every_digit(tmp_path):
    suite = plan.load(SUITE)
    run = next(iter(suite.runs.values()))
    table = pd.DataFrame([row(run, "frechet", 0.1 + 0.2)])[COLUMNS]
    table.to_csv(tmp_path / "a.csv", index=False)
    combine([tmp_path / "a.csv"], tmp_path / "tidy.csv")
    assert read_tidy(tmp_path / "tidy.csv")["value"][0] == 0.1 + 0.2
    with pytest.raises(BenchError, match="is listed twice"):
        combine([tmp_path / "a.csv", tmp_path / "a.csv"], tmp_path / "tidy.csv")


def test_every_module_that_declares_an_item_is_one():
    """Read from the syntax tree, the declarations equal those of the imported modules."""
    for name, item in ITEMS.items():
        module = importlib.import_module(item.module)
        own = module.ITEM
        assert (own.title, own.arrays, own.counterpart) == (item.title, item.arrays, item.counterpart)
        assert item.subject and module.__doc__.startswith(f"{item.subject}.")
        assert hasattr(module, "draw" if item.kind == "figure" else "build"), name
        assert name.startswith(("fig", "tab"))


def test_listing_items_imports_none_of_them():
    code = "import sys; import bench.report.items; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_users_matplotlib_settings_neither_crash_nor_change_a_figure(place, tmp_path_factory):
    own = tmp_path_factory.mktemp("matplotlib")
    (own / "matplotlibrc").write_text(
        "backend: TkAgg\nfont.size: 30\ntext.usetex: True\naxes.facecolor: black\n"
    )
    code = (
        "import matplotlib, sys; from bench.cli import main; matplotlib.rcParams['lines.linewidth'] = 9; "
        "sys.exit(main(['figure', 'fig6', '--suite', 'smoke']))"
    )
    contents = []
    for more in ({}, {"MPLBACKEND": "module://not_installed", "MATPLOTLIBRC": str(own)}):
        run = [sys.executable, "-c", code if not more else "import bench.report; " + code]
        done = subprocess.run(run, env=os.environ | more, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        contents.append([file.read_bytes() for file in files("fig6")])
    assert contents[0] == contents[1]


ODD = "a$b$c_{d} & 50% <i> | *#~^\\ “é” 人脸 😀"


def test_any_name_is_drawn_and_written_as_it_stands(place):
    plan_file = paths.plan_file(SUITE)
    summary = json.loads(plan_file.read_text())
    summary["models"]["dit-t16"]["label"] = ODD
    summary["datasets"]["disks-8"]["title"] = ODD.replace("人脸 😀", "")
    write_json(plan_file, summary)
    for item in ("fig2", "fig3", "fig6", "tab1"):
        assert main([ITEMS[item].kind, item, "--suite", SUITE]) == 0, item
    context = Context(SUITE, "fig2")
    assert context.label("dit-t16") == "dit-t16"  # the font lacks a sign of its label
    assert context.title("disks-8") == ODD.replace("人脸 😀", "")
    assert drawable("人", "人x") == "U+4EBAx"
    folder = paths.tables_folder(SUITE)
    assert ODD.replace("\\", "\\\\").split(" & ")[0].replace("_", "\\_") in (folder / "tab1.md").read_text()
    assert "&lt;i&gt;" in (folder / "tab1.html").read_text()
    assert r"a\$b\$c\_\{d\} \& 50\% \textless{}i\textgreater{}" in (folder / "tab1.tex").read_text()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_sets_any_character(tmp_path):
    letters = "".join(
        map(chr, (*range(32, 127), *range(0xA1, 0x180), *range(0x2190, 0x21FF), *range(0x391, 0x3CA)))
    )
    text = r"\documentclass{article}\begin{document}\sloppy " + latex(letters + ODD) + r"\end{document}"
    (tmp_path / "t.tex").write_text(text)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-1500:]
