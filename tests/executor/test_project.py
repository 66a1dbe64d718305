"""The plugin in a project of its own: every kind of rule, the profile of its README, its distribution."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from harness import REPOSITORY

PLUGIN = REPOSITORY / "snakemake_executor_plugin_submitit"
SNAKEFILE = """
envvars: "SECRET"

rule all:
    input: "shell.txt", "script.txt", "run.txt", "folder", "second.txt", "shadow.txt"

rule shell:
    output: "shell.txt", temp("scratch.txt")
    log: "logs/shell.log"
    benchmark: "logs/shell.tsv"
    threads: 2
    params: word=lambda wildcards: "it's {braces}"
    shell: "echo {params.word:q} $OMP_NUM_THREADS $SECRET > {output[0]} 2> {log}; touch {output[1]}; false | true || :"

rule script:
    input: "shell.txt", "scratch.txt"
    output: "script.txt"
    script: "script.py"

rule run:
    input: "shell.txt"
    output: "run.txt"
    run: open(output[0], "w").write("run")

rule folder:
    output: directory("folder")
    shell: "mkdir {output}; touch {output}/a"

rule first:
    output: "first.txt"
    group: "pair"
    shell: "echo first > {output}"

rule second:
    input: "first.txt"
    output: "second.txt"
    group: "pair"
    shell: "cat {input} > {output}"

rule shadow:
    output: "shadow.txt"
    shadow: "minimal"
    shell: "echo scratch > scratch2.txt; cp scratch2.txt {output}"
"""
SCRIPT = 'open(snakemake.output[0], "w").write("script")'


def profile() -> dict:
    """Return the minimal profile of the plugin's README."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (PLUGIN / "README.md").read_text(), flags=re.S)
    return yaml.safe_load(text)


def snakemake(folder: Path, path: Path, *arguments: str, secret: str = "s") -> subprocess.CompletedProcess:
    (folder / "profile").mkdir(exist_ok=True)
    # no cluster here, and no hour to lose
    changed = profile() | {"submitit-cluster": "local", "seconds-between-status-checks": 1, "latency-wait": 2}
    (folder / "profile/config.yaml").write_text(yaml.safe_dump(changed))
    return subprocess.run(
        [sys.executable, "-P", "-m", "snakemake", "--profile", "profile", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(path), "SECRET": secret},
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.workflow
def test_every_kind_of_rule_runs_and_has_its_metadata(tmp_path, slow):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = snakemake(tmp_path, REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "shell.txt").read_text() == "it's {braces} 2 s\n"
    assert not (tmp_path / "scratch.txt").exists()
    assert float((tmp_path / "logs/shell.tsv").read_text().splitlines()[1].split("\t")[0]) >= 0
    logs = [path.read_text() for path in tmp_path.glob(".snakemake/submitit/*_0_log.err")]
    assert [len(logs), sum("Building DAG of jobs" in log for log in logs)] == [
        6,
        5,
    ]  # all but the shell command
    again = snakemake(tmp_path, REPOSITORY, "-n")
    assert "Nothing to be done" in again.stdout + again.stderr


ODD = """it's "a" $p `x`; 100%s [1]*"""
QUOTING = """
envvars: "SECRET"
rule all:
    input: "folder", "word.txt"
rule folder:
    output: directory("folder")
    shell: "mkdir {output}; printf %s \\"$SECRET\\" > {output}/word.txt"
rule word:
    output: "word.txt"
    shell: "printf %s \\"$SECRET\\" > {output}"
"""


@pytest.mark.workflow
def test_a_folder_and_a_variable_that_need_quoting(tmp_path):
    """For a command that runs directly, and behind an inner Snakemake."""
    folder = tmp_path / ODD
    folder.mkdir()
    (folder / "Snakefile").write_text(QUOTING)
    done = snakemake(folder, REPOSITORY, secret=ODD)
    assert done.returncode == 0, done.stderr
    assert (folder / "word.txt").read_text() == (folder / "folder/word.txt").read_text() == ODD


@pytest.mark.workflow
def test_a_distribution_of_its_own(tmp_path):
    """Built from its folder, installed alone, found by Snakemake, runs a job that needs no file of this project."""
    pytest.importorskip("hatchling", reason="builds the distribution without a network")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, PLUGIN]
    subprocess.run(build, check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("snakemake_executor_plugin_submitit-*.whl")
    alone = tmp_path / "alone"
    subprocess.run([*pip, "install", "--no-deps", "--target", alone, wheel], check=True, capture_output=True)
    assert not (alone / "bench").exists()
    (tmp_path / "Snakefile").write_text('rule all:\n    output: "out"\n    shell: "echo ok > {output}"\n')
    done = snakemake(tmp_path, alone)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == "ok\n"
    code = "import snakemake_executor_plugin_submitit as p; print(p.__file__)"
    found = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(alone)},
        capture_output=True,
        text=True,
    )
    assert found.stdout.startswith(str(alone))
