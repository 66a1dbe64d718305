"""What may happen to a conversion: a kill, a second one, a broken file among ten thousand, a read-only source."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from bench.data import conversion
from bench.data.build import build_dataset
from bench.data.dataset import open_dataset
from bench.data.options import DatasetOptions
from bench.support.errors import BenchError
from bench.support.files import read_json

COUNT = 80
STOP = 48  # the image at which the process to be killed stands still

# a conversion in a process of its own that notes its progress after each image and never passes image STOP
CONVERSION = f"""
import sys, time
from pathlib import Path
from bench.data import conversion
from bench.data.build import build_dataset
from bench.data.options import DatasetOptions

def decode(data, options, real=conversion.decode):
    decode.calls += 1
    if decode.calls > {STOP}:
        time.sleep(600)
    return real(data, options)

decode.calls = 0
conversion.decode, conversion.EVERY = decode, 0.0
folder = Path(sys.argv[1])
build_dataset("x", DatasetOptions("x", 8, test=20, source="images"), folder / "x", folder)
"""


def images(count=COUNT, side=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def encoded(image, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def options(**more):
    return DatasetOptions(**{"title": "x", "resolution": 8, "test": 20, "source": "images"} | more)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "images").mkdir()
    for i, image in enumerate(images()):
        (tmp_path / "images" / f"{i:03d}.png").write_bytes(encoded(image))
    return tmp_path / "images"


@pytest.fixture
def stalled(tmp_path, source):
    """A process that has converted STOP images and goes no further."""
    process = subprocess.Popen([sys.executable, "-c", CONVERSION, tmp_path], stderr=subprocess.DEVNULL)
    journal = tmp_path / ".x.part" / "raw" / "source.json"
    assert wait_for(lambda: journal.exists() and read_json(journal)["done"] == STOP)
    yield process
    process.kill()
    process.wait()


def test_a_killed_conversion_goes_on(tmp_path, stalled, monkeypatch, capsys):
    os.kill(stalled.pid, signal.SIGKILL)
    stalled.wait()
    assert not (tmp_path / "x").exists()
    decoded = []

    def decode(data, row, real=conversion.decode):
        decoded.append(data)
        return real(data, row)

    monkeypatch.setattr(conversion, "decode", decode)
    resumed = build_dataset("x", options(), tmp_path / "x", tmp_path)
    assert len(decoded) == COUNT - STOP and f"resuming after {STOP} of {COUNT}" in capsys.readouterr().err
    assert build_dataset("y", options(), tmp_path / "y", tmp_path)["sha256"] == resumed["sha256"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "x", "y"]


def test_a_changed_source_starts_from_the_beginning(tmp_path, stalled, source, monkeypatch, capsys):
    stalled.kill()
    stalled.wait()
    (source / "003.png").write_bytes(encoded(images(1, seed=1)[0]))
    resumed = build_dataset("x", options(), tmp_path / "x", tmp_path)
    assert "resuming" not in capsys.readouterr().err
    assert build_dataset("y", options(), tmp_path / "y", tmp_path)["sha256"] == resumed["sha256"]


def test_two_conversions_of_one_dataset(tmp_path, stalled):
    with pytest.raises(BenchError, match="Another process is building .*x"):
        build_dataset("x", options(), tmp_path / "x", tmp_path)
    build_dataset("y", options(), tmp_path / "y", tmp_path)  # another dataset of the same source


def wait_for(condition):
    end = time.monotonic() + 120  # a busy machine
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def ten_thousand(tmp_path_factory):
    """A zip of 10^4 JPEG files, the one in the middle cut short."""
    path = tmp_path_factory.mktemp("many")
    with zipfile.ZipFile(path / "a.zip", "w") as archive:
        for i, image in enumerate(images(10_000)):
            data = encoded(image, "JPEG")
            archive.writestr(f"{i:05d}.jpg", data[:400] if i == 5000 else data)
    return path


def test_a_broken_image_among_ten_thousand_is_named(tmp_path, ten_thousand):
    with pytest.raises(
        BenchError, match=r"a\.zip: 05000\.jpg does not decode .*or set on_error: skip"
    ) as caught:
        build_dataset("x", options(source="a.zip"), tmp_path / "x", ten_thousand)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_or_skipped_and_counted(tmp_path, ten_thousand, capsys):
    row = options(source="a.zip", on_error="skip")
    manifest = build_dataset("x", row, tmp_path / "x", ten_thousand)
    assert manifest["skipped"]["count"] == 1 and "05000.jpg" in manifest["skipped"]["files"][0]
    assert manifest["sources"]["source"]["images"] == 9_999
    assert "skipped: " in capsys.readouterr().err


def test_a_source_that_cannot_be_written(tmp_path, source):
    """Nothing is written beside the images; as root, where permissions do not count, nothing has changed."""
    before = state(source)
    for path in (*source.iterdir(), source):
        path.chmod(0o555)
    try:
        build_dataset("x", options(), tmp_path / "x", tmp_path, workers=2)
    finally:
        source.chmod(0o755)
    assert state(source) == before
    assert open_dataset(tmp_path / "x").train.shape == (COUNT - 20, 8, 8, 3)


def state(folder):
    return sorted((path.name, path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir())


# every file that this process writes ends at 2 kB
SMALL_DISK = """
import resource, sys
from bench.cli import main

resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
sys.exit(main(["data", "import", "x", "--source", "images", "--resolution", "8", "--test", "20"]))
"""


def test_no_room_is_one_sentence_and_leaves_nothing(tmp_path, source):
    done = subprocess.run([sys.executable, "-c", SMALL_DISK], cwd=tmp_path, capture_output=True, text=True)
    [line] = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 1 and "Cannot write results/datasets/x: File too large; free space" in line
    assert not list((tmp_path / "results" / "datasets").iterdir())
