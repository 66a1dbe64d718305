"""The verbs of ``bench data``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from bench import paths
from bench.console import say
from bench.errors import BenchError, nearest


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench data``."""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = verbs.add_parser("list", help="the datasets of config/datasets.yaml and whether they are here")
    add.set_defaults(run=show_list)
    add = verbs.add_parser("build", help="build a dataset of config/datasets.yaml")
    add.add_argument("name")
    add.set_defaults(run=build)
    _configure_import(verbs.add_parser("import", help="build a dataset from images, without a row"))
    for name, run, text in (("verify", verify, "check the content hash"), ("show", show, "counts and a contact sheet")):
        add = verbs.add_parser(name, help=text)
        add.add_argument("name")
        add.set_defaults(run=run)
    add = verbs.add_parser("subset", help="draw the order in which a shuffle takes images")
    add.add_argument("folder", type=Path, help="dataset folder")
    add.add_argument("--shuffle", type=int, required=True)
    add.add_argument("--out", type=Path, required=True)
    add.set_defaults(run=subset)


def _configure_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the new dataset")
    parser.add_argument("--source", required=True, help="folder, zip, tar, .npy or .npz")
    parser.add_argument("--test-source", help="the same for the test pool")
    parser.add_argument("--resolution", type=int, required=True, help="side in pixels")
    parser.add_argument("--test", type=int, default=0, help="test images drawn from the source")
    parser.add_argument("--channels", type=int, default=3, choices=(1, 3))
    parser.add_argument("--crop", default="center", help="center, none, or left,top,right,bottom")
    parser.add_argument("--filter", default="bicubic", help="box, bilinear, hamming, bicubic or lanczos")
    parser.add_argument("--on-error", default="fail", choices=("fail", "skip"))
    parser.set_defaults(run=import_images)


def _row(name: str):
    from bench.config import load_datasets

    rows = load_datasets()
    if name not in rows:
        raise BenchError(f"There is no dataset {name!r} in config/datasets.yaml{nearest(name, rows)}.")
    return rows[name]


def _report(name: str, manifest: dict) -> None:
    say(
        f"{name}: {manifest['train']} train and {manifest['test']} test images "
        f"{manifest['resolution']}x{manifest['resolution']}x{manifest['channels']}, "
        f"{manifest['duplicates_dropped_from_test']} duplicates dropped from test, "
        f"{len(manifest['skipped'])} files skipped, sha256 {manifest['sha256'][:16]}"
    )


def build(arguments: argparse.Namespace) -> None:
    """Build a dataset of the registry."""
    from bench.data.build import build_dataset

    row = _row(arguments.name)
    _report(arguments.name, build_dataset(arguments.name, row, paths.dataset_folder(arguments.name)))


def import_images(arguments: argparse.Namespace) -> None:
    """Build a dataset from the flags alone."""
    from bench import config
    from bench.data.build import build_dataset
    from bench.data.options import DatasetOptions

    keys = {f.name for f in dataclasses.fields(DatasetOptions)}
    value = {k: v for k, v in vars(arguments).items() if k in keys and v is not None} | {"title": arguments.name}
    for key in ("source", "test_source"):
        if key in value:
            value[key] = str(Path(value[key]).resolve())
    if "," in value["crop"]:
        value["crop"] = [int(part) for part in value["crop"].split(",")]
    options = config.validate(DatasetOptions, value, f"bench data import {arguments.name}")
    _report(arguments.name, build_dataset(arguments.name, options, paths.dataset_folder(arguments.name)))


def show_list(arguments: argparse.Namespace) -> None:
    """Print every dataset of the registry, whether it is built, and where its images are expected."""
    from bench.config import load_datasets
    from bench.data.build import sources_folder

    for name, row in load_datasets().items():
        built = (paths.dataset_folder(name) / "manifest.json").exists()
        source = f"family {row.family}" if row.family else f"put images in {sources_folder() / row.source}"
        state = "built" if built else source + (f" ({row.home})" if row.home else "")
        print(f"{name}\t{row.resolution}x{row.resolution}x{row.channels}\t{row.title}\t{state}")


def verify(arguments: argparse.Namespace) -> None:
    """Check a built dataset against its manifest."""
    from bench.data.dataset import open_dataset

    manifest = open_dataset(paths.dataset_folder(arguments.name)).manifest
    say(f"{arguments.name}: content is as recorded, sha256 {manifest['sha256']}")


def show(arguments: argparse.Namespace) -> None:
    """Write a contact sheet of train and test images and print counts and channel means."""
    import numpy as np

    from bench.data.dataset import open_dataset
    from bench.data.sheet import save_sheet

    folder = paths.dataset_folder(arguments.name)
    dataset = open_dataset(folder)
    for pool in ("train", "test"):
        images = getattr(dataset, pool)
        means = np.mean(images[:10_000], axis=(0, 1, 2))
        print(f"{pool}: {len(images)} images, channel means {', '.join(f'{m:.2f}' for m in means)} of 255")
        save_sheet(folder / f"{pool}.png", np.asarray(images[:64]))
    _report(arguments.name, dataset.manifest)
    say(f"contact sheets: {folder / 'train.png'}, {folder / 'test.png'}")


def subset(arguments: argparse.Namespace) -> None:
    """Write a shuffle's order."""
    from bench.data.subset import write_subset

    write_subset(arguments.folder, arguments.shuffle, arguments.out)


VERBS = {"data": configure}
