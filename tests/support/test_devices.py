"""Each job of a machine with several GPUs has one to itself; no GPU is needed to see it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.support import devices

ROOT = Path(__file__).resolve().parents[2]
JOB = """
import os, sys, time
from bench.support import devices
name = devices.claim(0.05)
print(name, os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def two(monkeypatch):
    """Two GPUs of this test's own, one of them a part by its old-style name, and no Slurm."""
    names = [f"GPU-{os.getpid()}", f"MIG-GPU-{os.getpid()}/13/0"]
    monkeypatch.setenv(devices.VARIABLE, ", ".join(names))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return names


def job():
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", JOB], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("allocation", [None, "7"])
def test_each_process_has_a_device_and_the_third_waits(two, monkeypatch, allocation):
    """By hand, and inside an interactive allocation of several GPUs, where Slurm does not choose."""
    if allocation:
        monkeypatch.setenv("SLURM_JOB_ID", allocation)
    first, second = job(), job()
    taken = [process.stdout.readline().split() for process in (first, second)]
    assert sorted(taken) == [[name, name] for name in sorted(two)]
    third = job()
    assert "All 2 GPUs are taken" in third.stderr.readline()
    second.kill()  # without any clean-up: the kernel frees the lock
    assert third.stdout.readline().split() == taken[1]
    for process in (first, second, third):
        process.kill()
        process.wait()


@pytest.mark.parametrize("names", ["4", "", "-1", "4,-1,6", "NoDevFiles"])
def test_a_single_device_and_none_are_left_alone(two, monkeypatch, names):
    monkeypatch.setenv(devices.VARIABLE, names)
    assert devices.claim() is None and os.environ[devices.VARIABLE] == names


def test_two_allocations_on_one_machine_do_not_wait_for_each_other(two, monkeypatch):
    """Slurm may number the devices of each from 0."""
    found = []
    for allocation in ("7", "8"):
        monkeypatch.setenv("SLURM_JOB_ID", allocation)
        found.append(job())
    assert [process.stdout.readline().split()[0] for process in found] == [two[0]] * 2
    for process in found:
        process.kill()
        process.wait()


@pytest.mark.workflow
def test_snakemake_counts_gpus_and_no_two_jobs_share_one(two, tmp_path):
    code = JOB.replace("sys.stdin.read()", "print(time.time()); time.sleep(0.5); print(time.time())")
    (tmp_path / "job.py").write_text(code)
    (tmp_path / "Snakefile").write_text(
        "rule all:\n    input: expand('{n}', n=range(5))\n"
        f"rule job:\n    output: '{{n}}'\n    resources: gpus=1\n    shell: '{sys.executable} job.py > {{output}}'\n"
    )
    command = [Path(sys.executable).parent / "snakemake", "--cores", "5", "--resources", "gpus=2"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=100)
    spans: dict[str, list[tuple[float, float]]] = {}
    for n in range(5):
        name, _, began, ended = (tmp_path / str(n)).read_text().split()
        spans.setdefault(name, []).append((float(began), float(ended)))
    assert set(spans) == set(two)
    for times in map(sorted, spans.values()):
        assert all(end <= begin for (_, end), (begin, _) in zip(times, times[1:]))


@pytest.mark.parametrize("profile", ["slurm", "workstation"])
def test_profiles_give_a_gpu_to_every_rule_that_computes(profile):
    text = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    verbs = r'^\s+"bench (train|measure|reference) '
    rules = {
        part.split(":")[0]
        for part in re.split(r"^rule ", text, flags=re.M)[1:]
        if re.search(verbs, part, re.M)
    }
    asked = yaml.safe_load((ROOT / f"workflow/profiles/{profile}/config.yaml").read_text())["set-resources"]
    assert {rule for rule, wanted in asked.items() if wanted.get("gpus") == 1} == rules
