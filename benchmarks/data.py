"""What importing images costs: ``python benchmarks/data.py [--images 10000] [--many 100000]`` prints Markdown.

Import of JPEG files of CelebA's size to 32 x 32 (central square, bicubic), beside the same loop in Pillow alone and
torchvision's loader; peak memory of two imports of different length; subset building.  Processor time per image
(of all processes together) is what counts on a busy machine; images/s are by the clock.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from timing import Table, parser

from bench.data.build import build_dataset
from bench.data.conversion import convert
from bench.data.options import DatasetOptions
from bench.data.sources import open_source
from bench.data.subset import write_subset
from bench.support.console import Progress

SIDE = 32
SIZE = (178, 218)  # of CelebA's aligned images
SMALL = (48, 48)
PARTS = 10  # of the files; the ways in one process take them in turn, so that a busy machine slows all alike
SUBSET = 100_000
CLASSES = 1000


def main() -> None:
    """Parse the arguments and print the tables."""
    made = parser(__doc__)
    made.add_argument("--images", type=int, default=10_000, help="JPEG files that are imported")
    made.add_argument("--many", type=int, default=100_000, help="images of the longer import")
    given = made.parse_args()

    def table(name: str, *columns: str, **about: object) -> Table:
        out = given.out and given.out.with_stem(f"{given.out.stem}-{name}")
        return Table(argparse.Namespace(device="cpu", out=out), list(columns), **about)

    with tempfile.TemporaryDirectory(prefix="bench-data-") as folder:
        ratios = ("to Pillow loop", "to decoding alone")
        columns = ("way", "images/s", "clock to Pillow loop", "processor ms/image", *ratios)
        speeds(table("speed", *columns, images=given.images, size=SIZE), Path(folder), given.images)
        columns = ("images", "MiB before", "MiB at the peak", "images/s")
        memory(table("memory", *columns, size=SMALL), Path(folder), (given.images, given.many))
        subsets(table("subset", "subset", "seconds", images=SUBSET), Path(folder))


def write_jpegs(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Write JPEG files (quality 90), cut from one large 1/f field, each with its own contrast; return the folder."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(2048)[:, None], np.fft.fftfreq(2048)[None]) + 1 / 2048
    fields = np.fft.ifft2(np.fft.fft2(rng.standard_normal((3, 2048, 2048))) / frequency).real
    fields /= fields.std()
    field = fields.transpose(1, 2, 0).astype(np.float32)
    for part in range(PARTS):
        (folder / f"{part}" / "all").mkdir(parents=True)  # torchvision wants a class
    width, height = size
    with Progress(count, f"writing {width}x{height} JPEG files", "file") as progress:
        for i in range(count):
            top, left = rng.integers(0, 2048 - height), rng.integers(0, 2048 - width)
            cut = 128 + rng.uniform(30, 60, 3) * field[top : top + height, left : left + width]
            picture = Image.fromarray(np.clip(cut, 0, 255).astype(np.uint8))
            picture.save(folder / f"{i * PARTS // count}" / "all" / f"{i:06d}.jpg", quality=90)
            progress.advance()
    return folder


def decoded_alone(folder: Path) -> None:
    """Decode every file and keep nothing."""
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as image:
            image.load()


def pillow_loop(folder: Path) -> None:
    """Do what a person would write: decode, central square, resize, collect."""
    paths = sorted(folder.rglob("*.jpg"))
    images = np.empty((len(paths), SIDE, SIDE, 3), np.uint8)
    for i, path in enumerate(paths):
        with Image.open(path) as image:
            left, top = (image.width - min(image.size)) // 2, (image.height - min(image.size)) // 2
            square = image.convert("RGB").crop((left, top, left + min(image.size), top + min(image.size)))
            images[i] = square.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def torchvision_loader(workers: int) -> Callable[[Path], None]:
    """Return the same through torchvision's ImageFolder and a DataLoader with this many worker processes."""
    from bench.support.torchvision_import import ensure_torchvision

    ensure_torchvision()
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    def work(folder: Path) -> None:
        bicubic = transforms.InterpolationMode.BICUBIC
        steps = [transforms.CenterCrop(min(SIZE)), transforms.Resize(SIDE, bicubic), transforms.PILToTensor()]
        data = datasets.ImageFolder(str(folder), transforms.Compose(steps))
        for _ in DataLoader(data, batch_size=64, num_workers=workers):
            pass

    return work


def ours(workers: int) -> Callable[[Path], None]:
    """Return the conversion of this project, into an array file, with a journal to go on from."""

    def work(folder: Path) -> None:
        options = DatasetOptions("x", SIDE, source="x", test=1)
        with tempfile.TemporaryDirectory() as out:
            convert(open_source(folder), options, Path(out) / "x.npy", "conversion", workers)

    return work


def measured(work: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    """Return the seconds of a work by the clock, and of the processors in this and all child processes."""

    def processors() -> float:
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)

    clock, processor = time.perf_counter(), processors()
    work(folder)
    return time.perf_counter() - clock, processors() - processor


def speeds(table: Table, place: Path, count: int) -> None:
    """Add images/s and processor time of each way, one run each."""
    folder = write_jpegs(place / "photos", count, SIZE)
    alone = {
        "Pillow, decoding alone": decoded_alone,
        "Pillow loop": pillow_loop,
        "torchvision, no worker": torchvision_loader(0),
        "this project, 1 thread": ours(1),
    }
    several = {"torchvision, 2 workers": torchvision_loader(2), "this project, 2 threads": ours(2)}
    decoded_alone(folder)  # the files are in the page cache from here on
    taken = dict.fromkeys(alone, (0.0, 0.0))
    for part in range(PARTS):
        for name, work in alone.items():
            clock, processor = measured(work, folder / f"{part}")
            taken[name] = taken[name][0] + clock, taken[name][1] + processor
    taken |= {name: measured(work, folder) for name, work in several.items()}
    (loop_clock, loop), (_, decoding) = taken["Pillow loop"], taken["Pillow, decoding alone"]
    for name, (clock, processor) in taken.items():
        ratios = processor / loop, processor / decoding
        table.add(name, count / clock, loop_clock / clock, 1e3 * processor / count, *ratios)


def memory(table: Table, place: Path, counts: tuple[int, ...]) -> None:
    """Add the peak memory of whole imports (converted, compared, split, hashed), each in a fresh process."""
    for count in counts:
        source = write_jpegs(place / f"small{count}", count, SMALL)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            table.add(count, *pool.apply(_import, (source, place / f"made{count}")))


def _import(source: Path, out: Path) -> tuple[float, float, float]:
    before, began = _peak(), time.perf_counter()
    made = build_dataset("x", DatasetOptions("x", SIDE, source=str(source), test=300), out)
    return before, _peak(), (made["train"] + 300) / (time.perf_counter() - began)


def _peak() -> float:
    """Return this process's peak resident MiB (Linux); ``getrusage`` would count the parent's."""
    return int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


def subsets(table: Table, place: Path) -> None:
    """Add the seconds in which the order of a shuffle is drawn and written."""
    images = np.random.default_rng(0).integers(0, 256, (SUBSET + 300, 4, 4, 3), dtype=np.uint8)
    np.save(place / "images.npy", images)
    np.save(place / "labels.npy", np.arange(len(images)) % CLASSES)
    row = DatasetOptions("x", 4, source="images.npy", labels="labels.npy", test=300, near_duplicates="keep")
    build_dataset("x", row, place / "x", place)
    for kind, balanced in (("random", False), (f"balanced, {CLASSES} classes", True)):
        began = time.perf_counter()
        write_subset(place / "x", 0, place / "s0.npz", balanced)
        table.add(kind, time.perf_counter() - began)


if __name__ == "__main__":
    main()
