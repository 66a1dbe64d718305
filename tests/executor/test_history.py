"""Each start of each job leaves a line with its host, its wait apart from its work, and its end."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from snakemake_executor_plugin_submitit import history
from snakemake_executor_plugin_submitit.history import Start


def test_starts_and_ends_are_read_back(tmp_path, capsys):
    file = tmp_path / f"7_1_0_{history.ENDING}"
    killed = Start(file, "train run=a", "7_1", 0, time.time() - 100)
    killed.begin()
    again = Start(file, "train run=a", "7_1", 1, time.time() - 5)
    again.begin()
    subprocess.run(["true"], check=True)
    again.end("done")
    with file.open("a") as lines:
        lines.write('{"job": "7_1", "beg')  # cut off by a full disk
    first, second = history.starts(tmp_path)
    assert "exit" not in first and 100 <= first["queue_seconds"] < 101 and first["host"]
    assert second["exit"] == "done" and second["peak_memory_mib"] > 0 and second["compute_seconds"] < 5
    assert history.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "train run=a: killed, or still at work" in said and "train run=a: done" in said
    assert history.main([str(tmp_path), "psnr"]) == 1


def test_a_record_that_cannot_be_written_fails_nothing(tmp_path):
    Start(tmp_path / "absent" / "file", "x", "7", 0, 0).begin()
    Start(None, "x", "debug", 0, 0).end("done", waited=False)


@pytest.mark.parametrize(
    ("text", "found"), [("JobId=7 SubmitTime=2026-01-02T03:04:05 x=y", True), ("JobId=7", False)]
)
def test_when_slurm_took_a_job_back(tmp_path, monkeypatch, text, found):
    script = tmp_path / "scontrol"
    script.write_text(f"#!/bin/sh\necho '{text}'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    when = time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))
    assert history.submitted_again("7") == (when if found else None)
