"""One zip of a suite: whole, the same bytes each time, checked to the byte, and drawn from like stored baselines."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bench.cli import main
from bench.results import baselines
from bench.suite import plan
from bench.support import paths

pytest.importorskip(
    "rocrate", reason="the optional package rocrate is not installed (pip install -e '.[archive]')"
)
RUN = "disks-8.dit-t16.n10.s0"


@pytest.fixture
def packed(suite, tmp_path):
    """An archive of a promoted suite that lists a figure and a table."""
    file = tmp_path / "config" / "suites" / "grid.yaml"
    file.write_text(file.read_text().replace("fig2: {}", "{figA13: {}, tabA1: {}}"))
    baselines.promote(plan.load("grid"))
    assert main(["archive", "--suite", "grid"]) == 0
    return Path("grid.zip")


def test_the_same_content_is_the_same_bytes(packed):
    before = packed.read_bytes()
    assert main(["archive", "--suite", "grid", "--out", "again.zip"]) == 0
    assert Path("again.zip").read_bytes() == before


def test_holds_and_describes_everything_and_no_machine(packed):
    with zipfile.ZipFile(packed) as archive:
        names, crate = archive.namelist(), json.loads(archive.read("ro-crate-metadata.json"))
        environment = archive.read("environment.json").decode()
        text = " ".join(archive.read(name).decode(errors="ignore") for name in names)
    folder = paths.baselines_folder("grid").as_posix()
    wanted = [f"{folder}/{name}" for name in ("plan.json", "tidy.csv.gz", "provenance.json", "priors.json")]
    assert {*wanted, "figures/grid/figA13.pdf", f"{folder}/arrays/{RUN}/samples.npz", "SHA256SUMS"} <= set(
        names
    )
    described = {entity["@id"]: entity for entity in crate["@graph"]}
    assert set(names) - {"SHA256SUMS"} <= set(described)
    assert re.fullmatch(r"[0-9a-f]{64}", described[wanted[1]]["sha256"])
    assert (
        described["./"]["datePublished"].startswith("2026-01-02")
        and "torch" in json.loads(environment)["packages"]
    )
    assert "secret" not in text and str(Path.cwd()) not in text


def test_a_suite_is_drawn_from_it_as_from_its_baseline(packed, capsys):
    with zipfile.ZipFile(packed) as archive:
        drawn = archive.read("figures/grid/figA13.pdf")
    before = paths.baseline_table("grid").read_bytes()
    shutil.rmtree("results")
    assert main(["archive", "check", "grid.zip"]) == 0
    assert main(["archive", "unpack", "grid.zip"]) == 0
    assert paths.baseline_table("grid").read_bytes() == before
    assert main(["figure", "figA13", "--suite", "grid"]) == 0
    assert Path("figures/grid/figA13.pdf").read_bytes() == drawn
    assert main(["archive", "unpack", "grid.zip"]) == 1
    assert "already exists" in capsys.readouterr().err


def test_weights_in_half_precision_of_the_runs_that_were_measured(suite, capsys):
    record = baselines.promote(suite) or baselines.stored("grid")
    state = {"a": np.linspace(-1, 1, 7, dtype=np.float32), "t": np.arange(3)}
    save_file(state, paths.run_folder("grid", RUN) / "weights.safetensors")
    assert main(["archive", "--suite", "grid", "--weights"]) == 0
    said = capsys.readouterr().err
    assert said.count("the weights of") == len(record["runs"]) - 1
    with zipfile.ZipFile("grid.zip") as archive:
        archive.extract(f"weights/{RUN}.safetensors")
    kept = load_file(f"weights/{RUN}.safetensors")
    assert kept["a"].dtype == np.float16 and kept["t"].tolist() == [0, 1, 2]
    assert np.abs(kept["a"] - state["a"]).max() < 1e-3


def rewritten(change) -> None:
    """Write the archive again with other members."""
    with zipfile.ZipFile("grid.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile("grid.zip", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def a_byte(place: int) -> None:
    data = bytearray(Path("grid.zip").read_bytes())
    data[place] ^= 1
    Path("grid.zip").write_bytes(data)


PLAN = "results/baselines/grid/plan.json"
WRONG = {
    "a byte of the file": (lambda: a_byte(2000), "grid.zip"),
    "a byte of the directory": (lambda: a_byte(-20), "is damaged"),
    "half of it": (lambda: Path("grid.zip").write_bytes(Path("grid.zip").read_bytes()[:5000]), "is damaged"),
    "a byte of a member": (
        lambda: rewritten(lambda m: m.update({PLAN: m[PLAN] + b" "})),
        "plan.json was changed",
    ),
    "a member less": (lambda: rewritten(lambda m: m.pop(PLAN)), f"lacks {PLAN}"),
    "a member more": (lambda: rewritten(lambda m: m.update(more=b"x")), "holds a file too many, more"),
    "no sums": (lambda: rewritten(lambda m: m.pop("SHA256SUMS")), "it was not written by"),
    "absent": (lambda: Path("grid.zip").unlink(), "does not exist"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_was_changed_is_one_sentence_and_nothing_is_unpacked(packed, case, capsys):
    change, message = WRONG[case]
    change()
    shutil.rmtree("results")
    for verb in ("check", "unpack"):
        capsys.readouterr()
        assert main(["archive", verb, "grid.zip"]) == 1
        said = capsys.readouterr().err
        assert said.startswith("bench: error: ") and message in said and said.count("\n") == 1
    assert not Path("results").exists()


def test_a_suite_without_baselines(suite, capsys):
    assert main(["archive", "--suite", "grid"]) == 1
    assert "has no stored baselines" in capsys.readouterr().err and not Path("grid.zip").exists()
