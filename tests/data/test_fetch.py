"""``bench data fetch`` against a server on this machine: resumed, checked, unpacked, never unasked."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from scipy.io import savemat

from bench.cli import main
from bench.data import fetch as fetching
from bench.data.build import build_dataset
from bench.data.dataset import open_dataset
from bench.data.fetch import fetch
from bench.data.options import DatasetOptions, SourceFile
from bench.data.storage import exclusive
from bench.support.errors import BenchError
from bench.support.options import to_dict

CONTENT = np.random.default_rng(0).bytes(300_000)


class Server(ThreadingHTTPServer):
    """Serves ``files``; ``breaks`` bodies end early, ``ranges: False`` always sends all; ``asked`` is the log."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.breaks, self.ranges, self.status = {}, [], 0, True, 0

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server, content = self.server, self.server.files.get(self.path[1:])
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if server.status or content is None:
            return self.send_error(server.status or 404)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content)
        if server.breaks:
            server.breaks -= 1
            end = start + 70_000
        self.wfile.write(content[start:end])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "*")
    running = Server()
    running.files["a.bin"] = CONTENT
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def row(*files, **more):
    return DatasetOptions(
        **{"title": "x", "resolution": 8, "test": 2, "source": "a"} | more, files=list(files)
    )


def file(server, name="a.bin", content=CONTENT, **more):
    given = {"path": name, "bytes": len(content), "sha256": sha256(content), "url": server.url(name)} | more
    return SourceFile(**given)


def test_a_download_is_checked_and_not_repeated(tmp_path, server):
    for _ in range(2):
        fetch("x", row(file(server)), tmp_path)
        assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked == [None] and [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_the_command(tmp_path, server, monkeypatch):
    about = {"title": "x", "resolution": 8, "test": 2, "source": "a", "files": [to_dict(file(server))]}
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump({"x": about}))
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path))
    assert main(["data", "fetch", "x", "--sources", str(tmp_path / "here")]) == 0
    assert (tmp_path / "here" / "a.bin").read_bytes() == CONTENT


def test_a_connection_that_breaks_is_taken_up(tmp_path, server):
    server.breaks = 3
    fetch("x", row(file(server)), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in server.asked[1:]]
    assert server.asked[0] is None and len(starts) == 3 and starts == sorted(starts) and starts[0] > 60_000


def test_a_killed_download_goes_on(tmp_path, server):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:100_000])
    fetch("x", row(file(server)), tmp_path)
    assert server.asked == ["bytes=100000-"] and (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_whole_part_needs_no_more_bytes(tmp_path, server):
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    fetch("x", row(file(server)), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_what_is_not_the_file_of_the_row_is_thrown_away(tmp_path, server):
    (tmp_path / "a.bin.part").write_bytes(bytes(1000))  # a part of something else
    with pytest.raises(BenchError, match=r"a\.bin did not return the expected file: .* has "):
        fetch("x", row(file(server)), tmp_path)
    assert not list(tmp_path.iterdir())
    fetch("x", row(file(server)), tmp_path)


def test_a_file_that_was_changed_is_named_and_stays(tmp_path, server):
    (tmp_path / "a.bin").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(BenchError, match=r"a\.bin has the sha256 .*, not .*; fetch it again"):
        fetch("x", row(file(server)), tmp_path)
    assert (tmp_path / "a.bin").exists() and not server.asked


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (503, fetching.ATTEMPTS)])
def test_a_server_that_refuses(tmp_path, server, status, tries):
    server.status = status
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:10])
    with pytest.raises(
        BenchError, match=f"cannot be fetched .*{status}.* resume after 10 bytes, or put the file"
    ):
        fetch("x", row(file(server)), tmp_path)
    assert len(server.asked) == tries and (tmp_path / "a.bin.part").read_bytes() == CONTENT[:10]


def test_no_server_at_all(tmp_path, server):
    with pytest.raises(BenchError, match="cannot be fetched .*run the same command again"):
        fetch("x", row(file(server, url="http://127.0.0.1:9/a.bin")), tmp_path)


def test_a_disk_too_small(tmp_path, server):
    with pytest.raises(BenchError, match=r"a\.bin needs 1e\+09 GB, .* are free"):
        fetch("x", row(file(server, bytes=10**18)), tmp_path)
    assert not server.asked


def test_two_downloads_of_one_file(tmp_path, server):
    with (tmp_path / "a.bin.part").open("ab") as part:
        assert exclusive(part.fileno())
        with pytest.raises(BenchError, match="Another process is downloading"):
            fetch("x", row(file(server)), tmp_path)


def test_what_a_person_must_fetch(tmp_path, server):
    by_hand = file(server, "b.zip", url=None, unpacks_to="b")
    with pytest.raises(BenchError) as caught:
        fetch("x", row(file(server), by_hand, home="https://x.org"), tmp_path)
    for word in ("b.zip", "300 kB", sha256(CONTENT), str(tmp_path), "https://x.org"):
        assert word in str(caught.value)
    assert (tmp_path / "a.bin").exists()  # what can be fetched is fetched
    with pytest.raises(BenchError, match="has no files to fetch"):
        fetch("x", row(), tmp_path)


def picture(value, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def archive(form, members):
    buffer = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(buffer, "w") as made:
            for name, content in members.items():
                made.writestr(name, content)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz" if form == "tar.gz" else "w") as made:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                made.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.usefixtures("old_or_new")
@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("inner", ["", "a/"])
def test_from_an_address_to_a_dataset(tmp_path, server, form, inner):
    content = archive(form, {f"{inner}{i}.png": picture(30 * i) for i in range(6)})
    server.files[f"d/a.{form}"] = content
    wanted = row(file(server, f"d/a.{form}", content, unpacks_to="a"), source="d/a")
    for _ in range(2):
        fetch("x", wanted, tmp_path)
        assert sorted(p.name for p in (tmp_path / "d" / "a").iterdir()) == [f"{i}.png" for i in range(6)]
    assert server.asked == [None] and sorted(p.name for p in (tmp_path / "d").iterdir()) == ["a", f"a.{form}"]
    assert build_dataset("x", wanted, tmp_path / "x", tmp_path)["train"] == 4


@pytest.fixture(params=["filters", "no filters"])
def old_or_new(request, monkeypatch):
    """Python before 3.11.4 has no filters for tar archives."""
    if request.param == "no filters":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


@pytest.mark.usefixtures("old_or_new")
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_nothing_is_unpacked_outside_of_the_folder(tmp_path, server, form):
    content = archive(form, {"a.png": b"x", "../evil.png": b"x", "/tmp/evil-of-bench.png": b"x"})
    server.files[f"a.{form}"] = content
    try:
        fetch("x", row(file(server, f"a.{form}", content, unpacks_to="a")), tmp_path / "in")
    except BenchError as error:
        assert "cannot be unpacked" in str(error)
    assert not list(tmp_path.glob("evil*")) and not Path("/tmp/evil-of-bench.png").exists()
    assert {p.name for p in (tmp_path / "in").iterdir()} <= {f"a.{form}", "a"}


@pytest.mark.usefixtures("old_or_new")
def test_links_and_damage_in_archives(tmp_path, server):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        member = tarfile.TarInfo("a.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(member)
    whole = archive("zip", {"a.png": CONTENT})
    broken = whole[:1000] + b"x" + whole[1001:]  # its own checksum is not right
    for name, content, words in (
        ("a.tar", buffer.getvalue(), r"a\.tar cannot be unpacked .*; fetch it again"),
        ("b.zip", broken, r"b\.zip cannot be unpacked .*; fetch it again"),
    ):
        server.files[name] = content
        with pytest.raises(BenchError, match=words):
            fetch("x", row(file(server, name, content, unpacks_to="a")), tmp_path)
        assert not (tmp_path / "a").exists() and not (tmp_path / ".a.part").exists()


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """The three archives of ILSVRC-2012 in their true form: two classes of three images, four for validation."""
    from bench.support.torchvision_import import ensure_torchvision

    ensure_torchvision()
    from torchvision.datasets import imagenet

    classes = ["n01440764", "n01443537"]
    train = {
        f"{wnid}.tar": archive("tar", {f"{wnid}_{i}.JPEG": picture(9 * i + 99 * k, "JPEG") for i in range(3)})
        for k, wnid in enumerate(classes)
    }
    val = {f"ILSVRC2012_val_{i + 1:08d}.JPEG": picture(9 * i + 50, "JPEG") for i in range(4)}
    kind = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")]
    synsets = [(k + 1, wnid, f"{wnid}, fish", "a fish", 0) for k, wnid in enumerate(classes)]
    meta = io.BytesIO()
    savemat(meta, {"synsets": np.array([*synsets, (3, "n0", "animal", "all", 2)], kind)})
    devkit = {
        "ILSVRC2012_devkit_t12/data/meta.mat": meta.getvalue(),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": b"1\n2\n2\n1\n",
    }
    parts = {
        "devkit": ("ILSVRC2012_devkit_t12.tar.gz", archive("tar.gz", devkit)),
        "train": ("ILSVRC2012_img_train.tar", archive("tar", train)),
        "val": ("ILSVRC2012_img_val.tar", archive("tar", val)),
    }
    (tmp_path / "imagenet").mkdir()
    for name, content in parts.values():
        (tmp_path / "imagenet" / name).write_bytes(content)
    known = {key: (name, hashlib.md5(content).hexdigest()) for key, (name, content) in parts.items()}
    monkeypatch.setattr(imagenet, "ARCHIVE_META", known)
    return [
        SourceFile(
            f"imagenet/{name}", len(parts[key][1]), md5=md5, unpacks_to="train" if key == "train" else "val"
        )
        for key, (name, md5) in known.items()
    ]


def test_imagenet_from_its_archives(tmp_path, imagenet):
    wanted = row(*imagenet, source="imagenet/train", test_source="imagenet/val", test=0, labels="folder")
    with pytest.raises(BenchError, match="unpack the files of x with `bench data fetch x`"):
        build_dataset("x", wanted, tmp_path / "x", tmp_path)
    fetch("x", wanted, tmp_path)
    manifest = build_dataset("x", wanted, tmp_path / "x", tmp_path)
    assert (manifest["train"], manifest["labels"]["names"]) == (6, ["n01440764", "n01443537"])
    dataset = open_dataset(tmp_path / "x")
    assert dataset.labels("train").tolist() == [0, 0, 0, 1, 1, 1]
    by_grey = dict(zip(dataset.test[:, 0, 0, 0].tolist(), dataset.labels("test").tolist()))
    assert [label for _, label in sorted(by_grey.items())] == [0, 1, 1, 0]


def test_verify_names_a_changed_file(tmp_path, server, monkeypatch, capsys):
    rows = f"x: {{title: x, resolution: 8, test: 2, source: a, files: [{{path: a.bin, sha256: {sha256(CONTENT)}}}]}}"
    (tmp_path / "datasets.yaml").write_text(rows)
    monkeypatch.setenv("BENCH_CONFIG", str(tmp_path))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.bin").write_bytes(CONTENT)
    assert main(["data", "verify", "x"]) == 0
    assert "as distributed" in capsys.readouterr().err
    (tmp_path / "data" / "a.bin").write_bytes(CONTENT[1:])
    assert main(["data", "verify", "x"]) == 1
    assert "data/a.bin has the sha256" in capsys.readouterr().err
