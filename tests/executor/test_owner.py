"""Two Snakemakes at once are refused, also after an unlock and from another host; a dead owner is not obeyed."""

from __future__ import annotations

import json
import os
import socket
import time

import psutil
import pytest
from harness import Workflow, wait_for

from snakemake_executor_plugin_submitit.records import SILENCE, Owner


def other(folder, **changes):
    process = psutil.Process(os.getppid())
    known = {
        "host": socket.gethostname(),
        "pid": process.pid,
        "began": process.create_time(),
        "time": time.time(),
    }
    (folder / "owner.json").write_text(json.dumps(known | changes))


@pytest.mark.parametrize("changes", [{}, {"host": "login2", "pid": 1}])
def test_a_living_owner_is_named(tmp_path, changes):
    other(tmp_path, **changes)
    said = Owner(tmp_path).other()
    assert said.startswith("process ") and " on " in said and "last sign of life" in said
    assert ("wait until 3 minutes" in said) is bool(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"began": 1.0},  # the process id was used again
        {"pid": 2**22 + 1},
        {"host": "login2", "time": time.time() - SILENCE - 1},
        {"time": None, "host": None, "pid": None},
    ],
)
def test_a_dead_one_is_not_obeyed(tmp_path, changes):
    other(tmp_path, **changes)
    if changes.get("host", "") is None:
        (tmp_path / "owner.json").write_text("{")
    owner = Owner(tmp_path)
    assert owner.other() == ""
    owner.sign()
    assert json.loads((tmp_path / "owner.json").read_text())["pid"] == os.getpid()
    owner.release()
    assert not (tmp_path / "owner.json").exists()


@pytest.mark.workflow
def test_a_second_snakemake_is_refused_with_and_without_the_lock(workflow):
    flow = workflow(steps=1000, seconds=0.1)
    outer = flow.start(jobs=1)
    wait_for(lambda: flow.starts(0))
    first = flow.log
    assert flow.run(jobs=1) == 1
    assert "cannot be locked" in flow.log[len(first) :]
    assert flow.run("--nolock", jobs=1) == 1
    assert f"process {outer.pid} on" in flow.log
    refused = flow.unlock()
    assert refused.returncode == 1 and f"still runs here: process {outer.pid}" in refused.stderr
    assert outer.poll() is None and len(flow.starts(0)) == 1


def test_an_owner_on_another_host_keeps_its_lock(tmp_path):
    (tmp_path / ".snakemake/submitit").mkdir(parents=True)
    other(tmp_path / ".snakemake/submitit", host="login2", pid=1)
    refused = Workflow(tmp_path, "local").unlock()
    assert refused.returncode == 1 and "process 1 on login2" in refused.stderr
