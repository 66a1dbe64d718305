"""The configuration refuses what is wrong, in one sentence."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from bench.suite import config, plan, reference_pages
from bench.suite.options import RunSpec
from bench.support.errors import BenchError
from bench.support.options import from_dict, to_dict

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A copy of config/ that a test may spoil."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("steps: 30", "stepz: 30", ["smoke.yaml", "'stepz'", "did you mean 'steps'?"]),
        ("steps: 30", "steps: many", ["smoke.yaml", "steps", "'many'"]),
        ("steps: 30", "steps: 0", ["at least 1"]),
        ("ema: 0.9", "ema: 1.5", ["ema", "1.5"]),
        ("samples: {count: 16", "samples: {count: 1000000000000", ["samples: count", "at most 10,000,000"]),
        ("psnr: {images: 8", "psnr: {imagez: 8", ["psnr.imagez", "did you mean 'images'?"]),
        ("psnr:", "psrn:", ["'psrn'", "did you mean 'psnr'?"]),
        ("[disks-8]", "[disk-8]", ["'disk-8'", "did you mean 'disks-8'?"]),
        ("dit-t16-local,", "dit-t16-locale,", ["'dit-t16-locale'", "did you mean"]),
        ("train_sizes: [10, 100]", "train_sizes: [0]", ["train_sizes must be positive"]),
        ("train_sizes: [10, 100]", "train_sizes: []", ["train_sizes must not be empty"]),
        ("train_sizes: [10, 100]", "train_sizes: [10, 10]", ["train_sizes lists 10 twice"]),
        (
            "train_sizes: [10, 100]",
            "train_sizes: [10, 1000]",
            ["runs.0", "1000", "disks-8 has 200", "lower N"],
        ),
        (
            "train_sizes: [10, 100]",
            "train_sizes: [150]\n    half: b",
            ["300 training images", "disks-8 has 200"],
        ),
        ("psnr: {images: 8", "psnr: {images: 80", ["psnr.images", "80", "disks-8 has 64"]),
        (
            "fig2: {models: [unet-t16,",
            "fig2: {models: [unet-t61,",
            ["items.fig2.models", "did you mean 'unet-t16'?"],
        ),
        (
            "fig4: {models: [dit-t16]}",
            "fig4: {train_sizes: [11]}",
            ["items.fig4.train_sizes", "trains no 11"],
        ),
        ("batch: 16", "steps: 16", ["duplicate key 'steps'"]),
        ("title:", "titel:", ["smoke.yaml", "'titel'", "did you mean 'title'?"]),
        ("[disks-8]", "[NO]", ["datasets.0", "YAML reads false as true or false; put text in quotes"]),
        ("title: For the tests, seconds per run", "title: 2024", ["YAML reads 2024 as a number"]),
        ("step_indices: [1]", "step_indices: [5]", ["step_indices must lie in 0..steps - 1 (4)"]),
    ],
)
def test_a_wrong_suite_is_one_sentence(settings, old, new, words):
    edit(settings / "suites" / "smoke.yaml", old, new)
    with pytest.raises(BenchError) as caught:
        plan.load("smoke")
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_an_empty_file_and_names_that_yaml_reads_otherwise(settings):
    (settings / "suites" / "smoke.yaml").write_text("# nothing yet\n")
    with pytest.raises(BenchError, match="smoke.yaml is empty"):
        plan.load("smoke")
    for name, kind in (("NO", "true or false"), ("12", "a number"), ("~", "null"), ("1e3", "a number")):
        (settings / "datasets.yaml").write_text(f"{name}: {{title: x, resolution: 8, family: disks}}\n")
        with pytest.raises(BenchError, match=f"reads the key {name} as {kind}; put it in quotes"):
            config.load_datasets()
    (settings / "datasets.yaml").write_text("a: {base: [b]}\nb: [1]\n")
    with pytest.raises(BenchError, match="datasets.yaml: a: base: there is no dataset"):
        config.load_datasets()


def test_unknown_suite_names_the_nearest(settings):
    with pytest.raises(BenchError, match="did you mean 'smoke'"):
        plan.load("smokee")


def test_clashing_blocks_are_refused(settings):
    path = settings / "suites" / "smoke.yaml"
    value = yaml.safe_load(path.read_text())
    value["runs"].append({**value["runs"][0], "training": {"batch": 4}})
    path.write_text(yaml.safe_dump(value))
    with pytest.raises(BenchError, match="is listed twice with different options"):
        plan.load("smoke")


def test_unknown_model_option_is_found_by_check(settings):
    from bench.cli import main

    edit(settings / "models.yaml", "patch:", "patches:")
    assert main(["check", "--suite", "smoke"]) == 1


def test_extends_loop(settings):
    with (settings / "models.yaml").open("a") as file:
        file.write("\nloop-a: {extends: loop-b}\nloop-b: {extends: loop-a}\n")
    with pytest.raises(BenchError, match="extends itself"):
        config.load_models()


def test_numbers_as_people_write_them(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: 2e-3\nb: 1E+2\nc: 12\nd: 2024-01-01\n")
    assert config.read_yaml(path) == {"a": 0.002, "b": 100.0, "c": 12, "d": "2024-01-01"}


def test_every_suite_resolves_and_round_trips():
    for path in config.suites().values():
        suite = plan.load(path.stem)
        for run in suite.runs.values():
            assert from_dict(RunSpec, to_dict(run)) == run


def test_generated_pages_are_in_step():
    for path, maker in reference_pages.PAGES.items():
        text = getattr(reference_pages, maker)()
        assert (ROOT / path).read_text() == text, f"run `bench config ...` to renew {path}"


def test_conda_and_pip_name_the_same_packages():
    pip = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]
    assert set(conda) - {"-e ."} == set(pip)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in extras["diffusers"]:
        assert f"# - {line}  # optional" in (ROOT / "environment.yml").read_text()
