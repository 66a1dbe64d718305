"""The verbs of ``bench data``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from bench.cli import expected_code
from bench.support import paths
from bench.support.console import say
from bench.support.errors import BenchError, nearest

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
    "layout",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench data``."""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = verbs.add_parser("list", help="the datasets of config/datasets.yaml and whether they are here")
    add.set_defaults(run=show_list)
    add = verbs.add_parser("build", help="build a dataset of config/datasets.yaml")
    add.add_argument("name")
    _making(add)
    expected_code.add_option(add)
    add.set_defaults(run=build)
    _configure_import(verbs.add_parser("import", help="build a dataset from images, without a row"))
    add = verbs.add_parser(
        "fetch", help="download a dataset's files where that is allowed; check and unpack them"
    )
    add.add_argument("name")
    add.add_argument(
        "--sources", type=Path, help="folder that files are relative to (default: BENCH_DATA or data)"
    )
    add.set_defaults(run=fetch)
    add = verbs.add_parser("verify", help="check source files and a built dataset against their checksums")
    add.add_argument("name", help="dataset, or a folder that holds one")
    add.add_argument(
        "--sources", type=Path, help="folder that files are relative to (default: BENCH_DATA or data)"
    )
    add.set_defaults(run=verify)
    add = verbs.add_parser("show", help="counts, channel means and contact sheets")
    add.add_argument("name", help="dataset, or a folder that holds one")
    add.add_argument("--out", type=Path, help="folder for the pictures (default: the dataset's)")
    add.set_defaults(run=show)
    add = verbs.add_parser("subset", help="draw the order in which a shuffle takes images")
    add.add_argument("name", help="dataset, or a folder that holds one")
    add.add_argument("--shuffle", type=int, required=True)
    add.add_argument("--balanced", action="store_true", help="take the images of all classes in turn")
    add.add_argument("--out", type=Path, required=True)
    expected_code.add_option(add)
    add.set_defaults(run=subset)


def _making(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="dataset folder (default: results/datasets/NAME)")
    parser.add_argument(
        "--sources", type=Path, help="folder that sources are relative to (default: BENCH_DATA or data)"
    )
    parser.add_argument("--workers", type=int, help="processes that decode images (default: all cores)")


def _configure_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the new dataset")
    parser.add_argument("--source", required=True, help="folder, zip, tar, .npy, .npz or LMDB")
    parser.add_argument("--test-source", help="the same for the test pool")
    parser.add_argument("--resolution", type=int, required=True, help="side in pixels")
    parser.add_argument("--channels", type=int, help="1 (grey), 3 (colour, the default) or 4 (latents)")
    parser.add_argument("--test", type=int, help="test images, drawn at random")
    parser.add_argument(
        "--train", type=int, help="training images, drawn at random (default: all that is not test)"
    )
    parser.add_argument("--seed", type=int, help="seed of the draws (default 0)")
    parser.add_argument("--crop", help="center (default), none, or left,top,right,bottom")
    parser.add_argument("--filter", help="nearest, box, bilinear, hamming, bicubic (default) or lanczos")
    parser.add_argument("--variant", help="permuted or grey")
    parser.add_argument("--labels", help="folder (the first in an image's path), or a .npy file of integers")
    parser.add_argument("--test-labels", help="the .npy file of --test-source")
    parser.add_argument("--layout", help="images (default), celeba, cifar10 or imagenet-batches")
    parser.add_argument("--on-error", help="fail (default) or skip what does not decode")
    parser.add_argument("--near-duplicates", help="drop (default) from test, or keep")
    parser.add_argument("--title", help="name in figures and tables (default: NAME)")
    parser.add_argument(
        "--no-redistribute", dest="redistribute", action="store_false", help="images must not be passed on"
    )
    _making(parser)
    parser.set_defaults(run=import_images)


def _row(name: str):
    from bench.suite.config import load_datasets

    rows = load_datasets()
    if name not in rows:
        raise BenchError(f"There is no dataset {name!r} in config/datasets.yaml{nearest(name, rows)}.")
    return rows[name]


def _folder(name: str) -> Path:
    """Return the folder of a built dataset, given by name or as a folder."""
    return Path(name) if "/" in name or Path(name, "manifest.json").is_file() else paths.dataset_folder(name)


def _check_code(arguments: argparse.Namespace, rule: str) -> None:
    from bench.suite import plan
    from bench.suite.fingerprint import fingerprint

    expected_code.check(arguments, fingerprint(*plan.entries(rule)))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _make(arguments: argparse.Namespace, options) -> None:
    from bench.data.build import build_dataset

    if arguments.workers is not None and arguments.workers < 1:
        raise BenchError(f"--workers must be at least 1, not {arguments.workers}.")
    folder, workers = arguments.out or paths.dataset_folder(arguments.name), arguments.workers or _cores()
    if options.base is not None and not (folder.parent / options.base / "manifest.json").exists():
        base = folder.parent / options.base
        _report(build_dataset(options.base, _row(options.base), base, arguments.sources, workers))
    _report(build_dataset(arguments.name, options, folder, arguments.sources, workers))


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
    from bench.data.options import DatasetOptions
    from bench.suite import config

    given = {key: getattr(arguments, key) for key in FLAGS if getattr(arguments, key) is not None}
    given |= {"title": arguments.title or arguments.name, "redistribute": arguments.redistribute}
    for key in ("source", "test_source", "labels", "test_labels"):
        value = getattr(arguments, key)
        if value is not None:
            found = Path(value)  # a path as typed, not relative to the sources folder
            as_typed = arguments.sources is not None or (key == "labels" and value == "folder")
            given[key] = str(found if as_typed else found.resolve())
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
    from bench.data.build import sources_folder
    from bench.suite.config import load_datasets

    rows = load_datasets()
    width = max(map(len, rows))
    for name, row in rows.items():
        size = f"{row.resolution}x{row.resolution}x{row.channels}"
        state, *files = dataset_state(name, row, sources_folder())
        print(f"{name:{width}} {size:8} {row.title:26} {state}")
        for file in files:
            print(f"    {file}")


def dataset_state(name: str, row, sources: Path) -> list[str]:
    """Return what is to be done for a dataset, and the files that are missing."""
    from bench.data import missing

    if (paths.dataset_folder(name) / "manifest.json").exists():
        return ["built"]
    if row.base:
        return [f"a view of {row.base}, `bench data build {name}` makes it"]
    if row.family:
        return [f"procedural, `bench data build {name}` draws it"]
    gone = [
        key
        for key in ("source", "test_source")
        if (path := getattr(row, key)) and not (sources / path).exists()
    ]
    if not row.files and gone:
        return [missing.sentence(gone[0], name, row, sources)]
    if files := missing.wanted(row, sources):
        by_hand = any(file.url is None for file in missing.absent(row, sources))
        how = "put there by hand, then checked and unpacked by " if by_hand else "downloaded by "
        return [f"missing, {how}`bench data fetch {name}`{missing.home_of(row)}:", *files]
    if gone or missing.packed(row, sources):
        return [f"files are here, `bench data fetch {name}` checks and unpacks them"]
    return [f"source is here, `bench data build {name}` imports it"]


def fetch(arguments: argparse.Namespace) -> None:
    """Download what has a public address; say what a person must fetch."""
    from bench.data.build import sources_folder
    from bench.data.fetch import fetch as fetch_files

    fetch_files(arguments.name, _row(arguments.name), arguments.sources or sources_folder())


def verify(arguments: argparse.Namespace) -> None:
    """Check a dataset's source files against their row, and what is built against its manifest."""
    from bench.data.dataset import open_dataset

    folder = _folder(arguments.name)
    checked = _verify_files(arguments) if folder == paths.dataset_folder(arguments.name) else 0
    if checked and not (folder / "manifest.json").exists():
        return
    dataset = open_dataset(folder)
    for pool in ("train", "test"):
        dataset.labels(pool)
    say(f"{dataset.name}: content is as recorded, sha256 {dataset.manifest['sha256']}")


def _verify_files(arguments: argparse.Namespace) -> int:
    """Check the source files that are there; return how many."""
    from bench.data import missing
    from bench.data.build import sources_folder
    from bench.suite.config import load_datasets

    sources, row = arguments.sources or sources_folder(), load_datasets().get(arguments.name)
    here = [file for file in row.files if (sources / file.path).exists()] if row else []
    for file in here:
        missing.check(sources / file.path, file, missing.home_of(row))
        say(f"{sources / file.path}: as distributed, {missing.described(file)}")
    return len(here)


def show(arguments: argparse.Namespace) -> None:
    """Write a contact sheet of each pool and print counts, channel statistics, classes and the split."""
    from bench.data.dataset import open_dataset
    from bench.data.sheet import describe, evenly, save_sheet

    folder = _folder(arguments.name)
    dataset = open_dataset(folder)
    out = arguments.out or folder
    for line in describe(dataset):
        print(line)
    for pool in ("train", "test"):
        images = getattr(dataset, pool)
        save_sheet(out / f"{pool}.png", images[evenly(len(images), 64)])
    _report(dataset.manifest)
    if not dataset.manifest["redistribute"]:
        say("these images must not be passed on, nor pictures that show them")
    say(f"contact sheets: {out / 'train.png'}, {out / 'test.png'}")


def subset(arguments: argparse.Namespace) -> None:
    """Write a shuffle's order."""
    from bench.data.subset import write_subset

    _check_code(arguments, "subset")
    write_subset(_folder(arguments.name), arguments.shuffle, arguments.out, arguments.balanced)


VERBS = {"data": configure}
