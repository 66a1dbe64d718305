"""Turn a network that was trained elsewhere into a run of a separate suite, which is measured like any other."""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import nn

from bench.data.dataset import Dataset, open_dataset
from bench.data.options import DatasetOptions
from bench.data.subset import read_subset, write_subset
from bench.diffusion.prediction import check_target
from bench.diffusion.schedule import make_schedule
from bench.jobs.adopted import ROWS, Adopted
from bench.jobs.check import check
from bench.jobs.weights import Foreign, check_betas, read
from bench.metrics.declare import measurements
from bench.models.foreign import project_of, renamed
from bench.models.registry import build, module_of
from bench.suite import config
from bench.suite.candidate import find_preset
from bench.suite.grid import counted, run_of
from bench.suite.options import METRICS, RunSpec, measured
from bench.suite.plan import Plan
from bench.suite.plan import read as read_plan
from bench.support import paths
from bench.support.arrays import save_arrays
from bench.support.console import say
from bench.support.errors import BenchError
from bench.support.files import digest, sha256, write_json, write_text
from bench.support.fingerprint import definitions, fingerprint
from bench.support.options import from_dict, to_dict
from bench.support.provenance import environment
from bench.training.options import TrainingOptions, recipe

NAMED = ("linear", "cosine")
ITEMS = ("tabA1", "tabA2")  # what can be drawn of any networks


@dataclass(frozen=True)
class Wish:
    """What a user says of a network: whatever its files do not say.

    ``model`` is a preset or FILE.py:NAME with ``options``; ``schedule`` is linear, cosine or a ``.npy`` file of betas;
    ``train_images`` is ``all`` of the train pool or a file of its rows, ``train_size`` the first N of ``shuffle``.
    """

    source: Path
    suite: str
    name: str
    dataset: str
    model: str | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    schedule: str | None = None
    timesteps: int = 1000
    prediction: str | None = None
    flip: bool = False
    train_size: int | None = None
    train_images: str | None = None
    shuffle: int = 0
    like: str = "demo"


def adopt(wish: Wish) -> str:
    """Write the run and the plan of its suite; return the run's name.

    Everything is checked, the network loaded and tried, before anything is put in place.  Raises BenchError where weights,
    options, schedule, images and dataset do not go together, or the run is there already.
    """
    _check_names(wish)
    dataset = open_dataset(paths.dataset_folder(wish.dataset))
    foreign = read(wish.source)
    preset, model = _model(wish, foreign, dataset)
    betas, training = _training(wish, foreign)
    check_target(model, training, wish.name)
    _check_levels(model, training, wish)
    rows = _training_rows(wish, dataset)
    spec, plan = _planned(wish, preset, training, len(rows), dataset)
    if (folder := paths.run_folder(wish.suite, spec.name)).exists():
        raise BenchError(f"{folder} already exists; give another --name, or delete the folder.")
    with tempfile.TemporaryDirectory(dir=paths.RESULTS, prefix=".adopt.") as temporary:
        place = Path(temporary) / "runs" / spec.name  # as deep as it will lie
        place.mkdir(parents=True)
        state = renamed(foreign.weights, model, str(foreign.file))
        save_file({key: value.contiguous() for key, value in state.items()}, place / "weights.safetensors")
        _write_record(place, wish, foreign, spec, dataset, betas, rows)
        Adopted(place).model  # noqa: B018 - loaded and tried on one image
        check(plan)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(place, folder)
    return spec.name


def _check_names(wish: Wish) -> None:
    for key, name in (("suite", wish.suite), ("name", wish.name)):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise BenchError(
                f"--{key} {name!r} becomes part of file names; use letters, digits, '-' and '_'."
            )
    if wish.suite in config.suites():
        raise BenchError(
            f"The suite {wish.suite!r} is one of config/; give --suite a name of its own for networks from elsewhere."
        )
    if wish.train_images is not None and wish.train_size is not None:
        raise BenchError("--train-images and --train-size both name the training images; give one of them.")


def _model(wish: Wish, foreign: Foreign, dataset: Dataset) -> tuple[config.ModelPreset, nn.Module]:
    """Return what describes the network, and the network without its weights."""
    if foreign.kind is not None:
        if wish.model is not None:
            raise BenchError(f"{wish.source} already determines the network; leave out --model.")
        family, given, file = "diffusers", {"kind": foreign.kind, "config": foreign.config}, None
    elif wish.model is None:
        raise BenchError(
            f"{wish.source} holds weights of {project_of(foreign.weights)} without options; give --model PRESET or "
            "FILE.py:NAME."
        )
    else:
        found = find_preset(wish.model, config.load_models())[1]
        family, given, file = str(found.family), found.options, found.file
    options = {**given, **wish.options}
    side, channels = dataset.manifest["resolution"], dataset.manifest["channels"]
    preset = config.ModelPreset(
        family=family, options=options, label=wish.name, source=f"trained elsewhere: {wish.source.name}", file=file,
        image_size=side, channels=channels,
    )  # fmt: skip
    model = build(preset.spec(wish.name), side, channels)
    if not getattr(model, "trains", True):
        raise BenchError(f"--model {wish.model} is a control, which has no weights of its own.")
    if getattr(model, "num_classes", 0) > 1 and not getattr(model, "label_dropout", 0):
        raise BenchError(
            f"{wish.source}: a network of {model.num_classes} classes without a null label cannot be measured without "
            "labels; if its table has a null row, say --set label_dropout=0.1."
        )
    return preset, model


def _training(wish: Wish, foreign: Foreign) -> tuple[list[float] | None, TrainingOptions]:
    """Return the betas of a schedule without a name, and what is known of the training."""
    for key, own in (("schedule", foreign.betas), ("prediction", foreign.prediction)):
        given = getattr(wish, key)
        if own is not None and given is not None:
            raise BenchError(f"{wish.source}: its scheduler already sets the {key}; leave out --{key}.")
        if own is None and given is None:
            raise BenchError(f"{wish.source} does not say with which {key} it was trained; give --{key}.")
    betas = foreign.betas if foreign.betas is not None else _given_betas(wish)
    name = next((n for n in NAMED if _is(n, betas)), None)
    training = TrainingOptions(
        schedule=name or "own",  # type: ignore[arg-type]  # `betas` of run.json; no suite can say it
        timesteps=len(betas),
        prediction=foreign.prediction or wish.prediction,  # type: ignore[arg-type]
        flip=wish.flip,
    )
    return (None if name else betas.tolist()), training


def _check_levels(model: nn.Module, training: TrainingOptions, wish: Wish) -> None:
    """Refuse betas without a name for a network that is told the noise level: it knows those of named schedules."""
    if training.schedule == "own" and getattr(model, "noise_schedule", None):
        raise BenchError(
            f"--model {wish.model} is told the noise levels of a named schedule; give --schedule linear or cosine, not "
            f"{wish.schedule}."
        )


def _given_betas(wish: Wish) -> np.ndarray:
    if wish.schedule in NAMED:
        return check_betas(make_schedule(str(wish.schedule), wish.timesteps).betas, "--timesteps")
    file = Path(str(wish.schedule))
    try:
        return check_betas(np.load(file, allow_pickle=False), file)
    except (OSError, ValueError, EOFError) as error:
        raise BenchError(f"--schedule must be linear, cosine or a .npy file of betas, not {file}.") from error


def _is(name: str, betas: np.ndarray) -> bool:
    """Whether betas are a named schedule's, up to the rounding of single precision."""
    return (name == "cosine" or len(betas) > 20) and np.allclose(
        make_schedule(name, len(betas)).betas, betas, rtol=1e-5, atol=0
    )


def _training_rows(wish: Wish, dataset: Dataset) -> np.ndarray:
    """Return the positions of the training images in the train pool, (N,); none if the user does not give them."""
    file, pool = paths.subset_file(wish.dataset, wish.shuffle), len(dataset.train)
    if not file.exists():
        write_subset(dataset.folder, wish.shuffle, file)
    if wish.train_size is not None:
        return read_subset(file, dataset, wish.train_size).train
    if wish.train_images is None:
        return np.zeros(0, np.int64)
    if wish.train_images == "all":
        return np.arange(pool)
    path = Path(wish.train_images)
    try:
        rows = (
            np.load(path, allow_pickle=False)
            if path.suffix == ".npy"
            else np.loadtxt(path, np.int64, ndmin=1)
        )
    except (OSError, ValueError, EOFError) as error:
        raise BenchError(
            f"--train-images must be all, an .npy file or a text of row numbers, one per line, not {path} ({error})."
        ) from error
    sound = rows.ndim == 1 and rows.dtype.kind in "iu" and len(rows) and len(np.unique(rows)) == len(rows)
    if not sound or rows.min() < 0 or rows.max() >= pool:
        raise BenchError(
            f"{path}: training images must be different whole numbers from 0 to {pool - 1}, rows of the train pool of "
            f"{wish.dataset}."
        )
    return rows.astype(np.int64)


def _planned(
    wish: Wish, preset: config.ModelPreset, training: TrainingOptions, size: int, dataset: Dataset
) -> tuple[RunSpec, Plan]:
    """Return the run, and the plan of its suite with it."""
    file = paths.plan_file(wish.suite)
    old = read_plan(file) if file.exists() else None
    row = from_dict(DatasetOptions, dataset.manifest["made"])
    datasets = (old.all_datasets if old else {}) | {wish.dataset: row}
    if row.base:
        datasets |= {row.base: config.load_datasets()[row.base]}
    bare = run_of(
        wish.suite, wish.dataset, preset.spec(wish.name), size, wish.shuffle, "", training=training,
        measure=config.load_suite(wish.like).measure,
    )  # fmt: skip
    run = _measured(bare, counted(datasets))
    models = dict(old.models) if old else {}
    if models.setdefault(wish.name, preset).options != preset.options:
        raise BenchError(f"{wish.name} is another network in suite {wish.suite!r}; give another --name.")
    runs = (old.runs if old else {}) | {run.name: run}
    items = {item: config.ItemOptions() for item in ITEMS}
    title = old.title if old else "Networks that were trained elsewhere"
    return run, Plan(wish.suite, title, items, runs, models, datasets)


def _measured(run: RunSpec, datasets: dict[str, DatasetOptions]) -> RunSpec:
    """Return the run with what can be measured of it, saying what cannot: say, what needs checkpoints."""
    found = measured(run, None, datasets, where=None)
    for metric in METRICS:
        options = getattr(run.measure, metric)
        if options is not None and getattr(found.measure, metric) is None:
            reason = measurements()[metric].problem(options, run, datasets) or "it does not apply"
            say(f"{run.name}: {metric} is left out: {reason}")
    return found


def _write_record(
    place: Path, wish: Wish, foreign: Foreign, spec: RunSpec, dataset: Dataset, betas: list[float] | None,
    rows: np.ndarray,
) -> None:  # fmt: skip
    """Write the record of a training that happened elsewhere, its training images, and an empty history."""
    entries = ("bench.jobs.adopted", module_of(spec.model))
    weights, data = sha256(place / "weights.safetensors"), dataset.manifest["sha256"]
    record = {
        "spec": to_dict(spec),
        "digest": digest([recipe(spec), data, weights, betas, rows.tolist()]),
        "code": {"fingerprint": fingerprint(*entries), "definitions": definitions(*entries)},
        "data": {key: dataset.manifest[key] for key in ("sha256", "resolution", "channels")},
        "result": {"images_per_second": None, "seconds": 0.0, "resumed_at": None},
        "snapshots": [],
        "attempts": [],
        "adopted": {
            "source": wish.source.name, "file": foreign.file.name, "sha256": sha256(foreign.file),
            "names_of": foreign.kind or project_of(foreign.weights), "betas": betas,
            "train_images": wish.train_images or (f"first {wish.train_size}" if wish.train_size else "not known"),
        },
        "provenance": environment("cpu"),
    }  # fmt: skip
    if len(rows):
        save_arrays(place / ROWS, rows=rows)
    write_text(place / "history.csv", "step,loss,learning_rate,images_per_second\n")
    write_json(place / "run.json", record)
