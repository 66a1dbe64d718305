"""The verbs of ``bench data``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bench import paths, planned
from bench.console import say
from bench.errors import BenchError, nearest

FLAGS = (
    "resolution",
    "channels",
    "test",
    "train",
    "seed",
    "crop",
    "filter",
    "variant",
    "on_error",
    "near_duplicates",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench data``."""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = verbs.add_parser("list", help="the datasets of config/datasets.yaml and whether they are here")
    add.set_defaults(run=show_list)
    add = verbs.add_parser("build", help="build a dataset of config/datasets.yaml")
    add.add_argument("name")
    _making(add)
    planned.add_option(add)
    add.set_defaults(run=build)
    _configure_import(verbs.add_parser("import", help="build a dataset from images, without a row"))
    add = verbs.add_parser("verify", help="check a built dataset against its content hash")
    add.add_argument("name", help="dataset, or a folder that holds one")
    add.set_defaults(run=verify)
    add = verbs.add_parser("show", help="counts, channel means and contact sheets")
    add.add_argument("name", help="dataset, or a folder that holds one")
    add.add_argument("--out", type=Path, help="folder for the pictures (default: the dataset's)")
    add.set_defaults(run=show)
    add = verbs.add_parser("subset", help="draw the order in which a shuffle takes images")
    add.add_argument("folder", type=Path, help="dataset folder")
    add.add_argument("--shuffle", type=int, required=True)
    add.add_argument("--out", type=Path, required=True)
    planned.add_option(add)
    add.set_defaults(run=subset)


def _making(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="dataset folder (default: results/datasets/NAME)")
    parser.add_argument(
        "--sources", type=Path, help="folder that sources are relative to (default: BENCH_DATA or data)"
    )
    parser.add_argument("--workers", type=int, help="processes that decode images (default: all cores)")


def _configure_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the new dataset")
    parser.add_argument("--source", required=True, help="folder, zip, tar, .npy or .npz")
    parser.add_argument("--test-source", help="the same for the test pool")
    parser.add_argument("--resolution", type=int, required=True, help="side in pixels")
    parser.add_argument("--channels", type=int, help="1 (grey) or 3 (colour, the default)")
    parser.add_argument("--test", type=int, help="test images, drawn at random")
    parser.add_argument(
        "--train", type=int, help="training images, drawn at random (default: all that is not test)"
    )
    parser.add_argument("--seed", type=int, help="seed of the draws (default 0)")
    parser.add_argument("--crop", help="center (default), none, or left,top,right,bottom")
    parser.add_argument("--filter", help="nearest, box, bilinear, hamming, bicubic (default) or lanczos")
    parser.add_argument("--variant", help="permuted or grey")
    parser.add_argument("--on-error", help="fail (default) or skip what does not decode")
    parser.add_argument("--near-duplicates", help="drop (default) from test, or keep")
    parser.add_argument("--title", help="name in figures and tables (default: NAME)")
    parser.add_argument(
        "--no-redistribute", dest="redistribute", action="store_false", help="images must not be passed on"
    )
    _making(parser)
    parser.set_defaults(run=import_images)


def _row(name: str):
    from bench.config import load_datasets

    rows = load_datasets()
    if name not in rows:
        raise BenchError(f"There is no dataset {name!r} in config/datasets.yaml{nearest(name, rows)}.")
    return rows[name]


def _folder(name: str) -> Path:
    """Return the folder of a built dataset, given by name or as a folder."""
    return Path(name) if "/" in name or Path(name, "manifest.json").is_file() else paths.dataset_folder(name)


def _check_code(arguments: argparse.Namespace, rule: str) -> None:
    from bench import plan
    from bench.provenance import fingerprint

    planned.check(arguments, fingerprint(*plan.entries(rule)))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make(arguments: argparse.Namespace, options) -> None:
    from bench.data.build import build_dataset

    if arguments.workers is not None and arguments.workers < 1:
        raise BenchError(f"--workers must be at least 1, not {arguments.workers}.")
    folder = arguments.out or paths.dataset_folder(arguments.name)
    _report(build_dataset(arguments.name, options, folder, arguments.sources, arguments.workers or _cores()))


def _report(manifest: dict) -> None:
    dropped = manifest["duplicates_dropped"]
    say(
        f"{manifest['name']}: {manifest['train']} train and {manifest['test']} test images "
        f"{manifest['resolution']}x{manifest['resolution']}x{manifest['channels']}, dropped from test "
        f"{dropped['exact']} exact and {dropped['near']} near duplicates of training images, "
        f"{manifest['skipped']['count']} files skipped, sha256 {manifest['sha256']}"
    )


def build(arguments: argparse.Namespace) -> None:
    """Build a dataset of the registry."""
    _check_code(arguments, "dataset")
    _make(arguments, _row(arguments.name))


def import_images(arguments: argparse.Namespace) -> None:
    """Build a dataset from the flags alone."""
    from bench import config
    from bench.data.options import DatasetOptions

    given = {key: getattr(arguments, key) for key in FLAGS if getattr(arguments, key) is not None}
    given |= {"title": arguments.title or arguments.name, "redistribute": arguments.redistribute}
    for key in ("source", "test_source"):
        if getattr(arguments, key) is not None:
            found = Path(getattr(arguments, key))  # a path as typed, not relative to the sources folder
            given[key] = str(found if arguments.sources is not None else found.resolve())
    if "," in given.get("crop", ""):
        given["crop"] = _box(given["crop"])
    _make(arguments, config.validate(DatasetOptions, given, f"bench data import {arguments.name}"))


def _box(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise BenchError(f"--crop {text} is not left,top,right,bottom in whole pixels.") from None


def show_list(arguments: argparse.Namespace) -> None:
    """Print every dataset of the registry, whether it is built, and where its images are expected."""
    from bench.config import load_datasets
    from bench.data.build import sources_folder

    for name, row in load_datasets().items():
        size = f"{row.resolution}x{row.resolution}x{row.channels}"
        print(f"{name:16} {size}  {row.title:18} {_state(name, row, sources_folder())}")


def _state(name: str, row, sources: Path) -> str:
    if (paths.dataset_folder(name) / "manifest.json").exists():
        return "built"
    if row.family:
        return f"procedural, `bench data build {name}` draws it"
    missing = [
        sources / given for given in (row.source, row.test_source) if given and not (sources / given).exists()
    ]
    if not missing:
        return f"source is here, `bench data build {name}` imports it"
    count = f"{row.expected} images" if row.expected else "images"
    home = f" from {row.home}" if row.home else ""
    return f"missing: put the {count}{home} in {' and '.join(str(path) for path in missing)}"


def verify(arguments: argparse.Namespace) -> None:
    """Check a built dataset against its manifest."""
    from bench.data.dataset import open_dataset

    dataset = open_dataset(_folder(arguments.name))
    say(f"{dataset.name}: content is as recorded, sha256 {dataset.manifest['sha256']}")


def show(arguments: argparse.Namespace) -> None:
    """Write a contact sheet of each pool and print counts, channel means and deviations."""
    import numpy as np

    from bench.data.dataset import open_dataset
    from bench.data.sheet import channel_statistics, save_sheet

    folder = _folder(arguments.name)
    dataset = open_dataset(folder)
    out = arguments.out or folder
    for pool in ("train", "test"):
        images = getattr(dataset, pool)
        means, deviations = (", ".join(f"{v:.2f}" for v in values) for values in channel_statistics(images))
        print(f"{pool}: {len(images)} images, channel means {means}, deviations {deviations} (of 255)")
        rows = np.linspace(0, len(images) - 1, min(64, len(images))).astype(int)  # evenly over the pool
        save_sheet(out / f"{pool}.png", images[rows])
    _report(dataset.manifest)
    if not dataset.manifest["redistribute"]:
        say("these images must not be passed on, nor pictures that show them")
    say(f"contact sheets: {out / 'train.png'}, {out / 'test.png'}")


def subset(arguments: argparse.Namespace) -> None:
    """Write a shuffle's order."""
    from bench.data.subset import write_subset

    _check_code(arguments, "subset")
    write_subset(arguments.folder, arguments.shuffle, arguments.out)


VERBS = {"data": configure}
