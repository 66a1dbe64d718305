"""What measurements need of a dataset, made once and kept in ``results/references``."""

from __future__ import annotations

import importlib
import json
import zipfile
from pathlib import Path

import numpy as np

from bench.data.dataset import open_dataset
from bench.metrics.declare import Arrays, Reference
from bench.suite.plan import reference_code
from bench.support import paths
from bench.support.arrays import save_arrays
from bench.support.console import say
from bench.support.files import read_json, sha256


def open_reference(reference: Reference, device: str) -> Arrays:
    """Return a reference, made here if it is missing, damaged or out of date with data and code.

    Raises BenchError for an unknown name.
    """
    file = paths.reference_file(*reference)
    classifier = open_reference(reference.classifier, device) if reference.classifier else None
    record = _record(reference)
    if (found := _read(file, record)) is not None:
        return found
    say(f"{reference.dataset}: {reference.name}")
    dataset = open_dataset(paths.dataset_folder(reference.dataset))
    module = importlib.import_module(f"bench.metrics.numerics.{reference.kind}")
    more = {} if classifier is None else {"classifier": classifier}
    found = module.make(dataset, reference.name, device, **more)
    save_arrays(file, record=np.array(json.dumps(record)), **found)
    return found


def _record(reference: Reference) -> dict:
    manifest = read_json(paths.dataset_folder(reference.dataset) / "manifest.json")
    classifier = sha256(paths.reference_file(*reference.classifier)) if reference.classifier else None
    return {"sha256": manifest["sha256"], "code": reference_code(reference), "classifier": classifier}


def _read(file: Path, record: dict) -> Arrays | None:
    try:
        with np.load(file, allow_pickle=False) as opened:
            arrays = dict(opened)
        current = json.loads(str(arrays.pop("record"))) == record
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return arrays if current else None
