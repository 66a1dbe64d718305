"""``bench data``: build, import, fetch, check and look at datasets; draw subsets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from bench.cli.arguments import Dataset, dataset_names
from bench.data.options import POOLS
from bench.suite.submitted import check_code
from bench.support import paths
from bench.support.console import say
from bench.support.errors import BenchError, nearest

if TYPE_CHECKING:
    from bench.data.options import DatasetOptions

verbs = typer.Typer()
app = typer.Typer(no_args_is_help=True)
verbs.add_typer(app, name="data", rich_help_panel="Data", help="Build, import, check and inspect datasets.")

Built = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="Dataset, or a folder that holds one.", autocompletion=dataset_names
    ),
]
Sources = Annotated[
    Path | None,
    Option(help="Folder that source paths are relative to.", show_default="BENCH_DATA or data"),
]
Out = Annotated[Path | None, Option(help="Dataset folder.", show_default="results/datasets/NAME")]
Workers = Annotated[int | None, Option(help="Threads that decode images.", show_default="all cores", min=1)]


def _row(name: str) -> DatasetOptions:
    from bench.suite import config, plan, submitted

    file = submitted.plan_file()
    rows = plan.read(file).all_datasets if file else config.load_datasets()
    if name not in rows:
        raise BenchError(f"There is no dataset {name!r} in config/datasets.yaml{nearest(name, rows)}.")
    return rows[name]


def _folder(name: str) -> Path:
    """Return the folder of a built dataset, given by name or as a folder."""
    return Path(name) if "/" in name or Path(name, "manifest.json").is_file() else paths.dataset_folder(name)


def _make(
    name: str, options: DatasetOptions, out: Path | None, sources: Path | None, workers: int | None
) -> None:
    from bench.data.build import build_dataset

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    folder, workers = out or paths.dataset_folder(name), workers or cores
    if options.base is not None and not (folder.parent / options.base / "manifest.json").exists():
        base = folder.parent / options.base
        _report(build_dataset(options.base, _row(options.base), base, sources, workers))
    _report(build_dataset(name, options, folder, sources, workers))


def _report(manifest: dict) -> None:
    counts = ", ".join(f"{manifest[pool]} {pool}" for pool in POOLS if manifest[pool])
    dropped = {pool: n for pool, n in (manifest["duplicates"] or {"dropped": {}})["dropped"].items() if n}
    lost = "".join(f", {n} dropped from {pool} (also in another pool)" for pool, n in dropped.items())
    side = manifest["resolution"]
    say(
        f"{manifest['name']}: {counts} images {side}x{side}x{manifest['channels']}{lost}, "
        f"{manifest['skipped']['count']} files skipped, sha256 {manifest['sha256']}"
    )


@app.command("list")
def show_list() -> None:
    """List the datasets of config/datasets.yaml with their state."""
    from bench.data.build import sources_folder
    from bench.data.missing import state_of
    from bench.suite.config import load_datasets

    rows = load_datasets()
    width = max(map(len, rows))
    for name, row in rows.items():
        size = f"{row.resolution}x{row.resolution}x{row.channels}"
        state, *files = state_of(name, row, sources_folder())
        print(f"{name:{width}} {size:8} {row.title:26} {state}")
        for file in files:
            print(f"    {file}")


@app.command()
def build(dataset: Dataset, out: Out = None, sources: Sources = None, workers: Workers = None) -> None:
    """Build a dataset of config/datasets.yaml."""
    from bench.suite.plan import ENTRIES

    check_code(*ENTRIES["dataset"])
    _make(dataset, _row(dataset), out, sources, workers)


@app.command("import")
def import_images(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the new dataset; no other dataset may have it.")
    ],
    source: Annotated[str, Option(help="Folder, zip, tar, .npy, .npz or LMDB.")],
    resolution: Annotated[int, Option(help="Side in pixels.")],
    validation_source: Annotated[str | None, Option(help="The same for the validation pool.")] = None,
    test_source: Annotated[str | None, Option(help="The same for the test pool.")] = None,
    channels: Annotated[int | None, Option(help="1 (grey), 3 (colour, default), 4 (latents).")] = None,
    test: Annotated[int | None, Option(help="Test images, drawn at random.")] = None,
    validation: Annotated[int | None, Option(help="Validation images, drawn at random.")] = None,
    train: Annotated[
        int | None, Option(help="Training images, drawn at random.", show_default="the rest")
    ] = None,
    seed: Annotated[int | None, Option(help="Seed of the draws.", show_default="0")] = None,
    bits: Annotated[int | None, Option(help="Significant bits of 16-bit grey images.")] = None,
    crop: Annotated[str | None, Option(help="center (default), none, or left,top,right,bottom.")] = None,
    filter: Annotated[
        str | None, Option(help="nearest, box, bilinear, hamming, bicubic (default) or lanczos.")
    ] = None,
    variant: Annotated[str | None, Option(help="permuted or grey.")] = None,
    labels: Annotated[
        str | None, Option(help="folder (the first in an image's path), or an .npy or .npz file of integers.")
    ] = None,
    validation_labels: Annotated[str | None, Option(help="The labels of --validation-source.")] = None,
    test_labels: Annotated[str | None, Option(help="The labels of --test-source.")] = None,
    layout: Annotated[
        str | None, Option(help="images (default), celeba, cifar10 or imagenet-batches.")
    ] = None,
    on_error: Annotated[str | None, Option(help="Images that do not decode: fail (default) or skip.")] = None,
    near_duplicates: Annotated[
        str | None, Option(help="Near duplicates of another pool: drop (default) or keep.")
    ] = None,
    drop_from: Annotated[
        str | None, Option(help="Pool to drop duplicates from: train (default) or test.")
    ] = None,
    title: Annotated[str | None, Option(help="Name in figures and tables.")] = None,
    no_redistribute: Annotated[
        bool, Option("--no-redistribute", help="The images must not be redistributed.")
    ] = False,
    out: Out = None,
    sources: Sources = None,
    workers: Workers = None,
) -> None:
    """Build a dataset from images, without a row of config/datasets.yaml."""
    from bench.data.options import DatasetOptions
    from bench.suite.strict import validate

    given: dict[str, Any] = {
        "resolution": resolution, "channels": channels, "test": test, "validation": validation, "train": train,
        "seed": seed, "filter": filter, "drop_from": drop_from, "bits": bits,
        "crop": _box(crop) if crop and "," in crop else crop, "variant": variant, "layout": layout,
        "on_error": on_error, "near_duplicates": near_duplicates, "title": title or name,
        "redistribute": not no_redistribute,
    }  # fmt: skip
    files = {
        "source": source, "validation_source": validation_source, "test_source": test_source,
        "labels": labels, "validation_labels": validation_labels, "test_labels": test_labels,
    }  # fmt: skip
    for key, value in files.items():
        if value is not None:  # a path as typed, not relative to the sources folder
            as_typed = sources is not None or (key == "labels" and value == "folder")
            given[key] = value if as_typed else str(Path(value).resolve())
    given = {key: value for key, value in given.items() if value is not None}
    options = validate(DatasetOptions, given, f"bench data import {name}")
    _check_new(name, options, out)
    _make(name, options, out, sources, workers)


def _check_new(name: str, options: DatasetOptions, out: Path | None) -> None:
    """Raise BenchError if the import would replace another dataset."""
    from bench.data.record import is_current
    from bench.suite.config import load_datasets

    if name in load_datasets():
        raise BenchError(
            f"{name} is a dataset of config/datasets.yaml; choose another name, or `bench data build {name}`."
        )
    folder = out or paths.dataset_folder(name)
    if (folder / "manifest.json").exists() and not is_current(folder, options):
        raise BenchError(
            f"{folder} was made from other images or options; choose another name, or delete the folder first."
        )


def _box(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise BenchError(f"--crop {text} is not left,top,right,bottom in whole pixels.") from None


@app.command()
def fetch(dataset: Dataset, sources: Sources = None) -> None:
    """Download a dataset's files if that is allowed; check and unpack them."""
    from bench.data.build import sources_folder
    from bench.data.fetch import fetch as fetch_files

    fetch_files(dataset, _row(dataset), sources or sources_folder())


@app.command()
def verify(dataset: Built, sources: Sources = None) -> None:
    """Check source files and a built dataset against their checksums."""
    from bench.data.dataset import open_dataset

    folder = _folder(dataset)
    checked = _verify_files(dataset, sources) if folder == paths.dataset_folder(dataset) else 0
    if checked and not (folder / "manifest.json").exists():
        return
    opened = open_dataset(folder, verify=True)
    say(f"{opened.name}: content is as recorded, sha256 {opened.manifest['sha256']}")


def _verify_files(name: str, folder: Path | None) -> int:
    """Check the source files that are there; return how many."""
    from bench.data import missing
    from bench.data.build import sources_folder
    from bench.suite.config import load_datasets

    sources, row = folder or sources_folder(), load_datasets().get(name)
    if row is None:
        return 0
    here = [file for file in row.files if (sources / file.path).exists()]
    for file in here:
        missing.check(sources / file.path, file, missing.home_of(row))
        say(f"{sources / file.path}: as distributed, {missing.described(file)}")
    return len(here)


@app.command()
def show(
    dataset: Built,
    out: Annotated[Path | None, Option(help="Folder for the pictures.", show_default="the dataset's")] = None,
) -> None:
    """Show counts, channel means and contact sheets."""
    from bench.data.dataset import open_dataset
    from bench.data.sheet import describe, evenly, save_sheet

    folder = _folder(dataset)
    opened, out = open_dataset(folder), out or folder
    for line in describe(opened):
        print(line)
    pools = [pool for pool in POOLS if opened.manifest[pool]]
    for pool in pools:
        images = getattr(opened, pool)
        save_sheet(out / f"{pool}.png", images[evenly(len(images), 64)])
    _report(opened.manifest)
    if not opened.manifest["redistribute"]:
        say("these images, and figures that show them, must not be redistributed")
    say(f"contact sheets: {', '.join(str(out / f'{pool}.png') for pool in pools)}")


@app.command()
def subset(
    dataset: Built,
    shuffle: Annotated[int, Option(help="Seed of the order.")],
    out: Annotated[Path, Option(help="Output file.")],
    balanced: Annotated[bool, Option("--balanced", help="Take the images of all classes in turn.")] = False,
) -> None:
    """Draw the order in which a shuffle takes images."""
    from bench.data.subset import write_subset
    from bench.suite.plan import ENTRIES

    check_code(*ENTRIES["subset"])
    write_subset(_folder(dataset), shuffle, out, balanced)
