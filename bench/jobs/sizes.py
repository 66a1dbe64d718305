"""How large each preset is: stored counts with what they depend on, since counting all of them takes half a minute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from bench.models import registry
from bench.suite.config import ModelPreset, folder
from bench.support.errors import BenchError
from bench.support.files import digest, read_json, write_text
from bench.support.fingerprint import fingerprint


class Size(NamedTuple):
    """Trainable parameters, and multiply-adds of one image (None for a control) with and without attention products."""

    parameters: int
    macs: int | None
    macs_without_attention: int | None


def stored_file() -> Path:
    """Return the file of stored counts; it is committed."""
    return folder() / "model_sizes.json"


def sizes(presets: dict[str, ModelPreset]) -> dict[str, Size]:
    """Return the size of each preset: as stored, or counted where its options or its code have changed since."""
    try:
        stored = read_json(stored_file())
    except BenchError:  # counted again
        stored = {}
    return {
        name: Size(*stored[key]) if (key := _key(name, preset)) in stored else _count(name, preset)
        for name, preset in presets.items()
    }


def store(presets: dict[str, ModelPreset], found: dict[str, Size]) -> Path:
    """Write the counts of all presets, one a line."""
    lines = [f'"{_key(name, preset)}": {json.dumps(found[name])}' for name, preset in presets.items()]
    write_text(stored_file(), "{\n" + ",\n".join(sorted(set(lines))) + "\n}\n")
    return stored_file()


def _key(name: str, preset: ModelPreset) -> str:
    code = fingerprint(registry.module_of(preset.spec(name)), "bench.models.costs")
    return digest([preset.family, preset.options, preset.image_size, preset.channels, code])


def _count(name: str, preset: ModelPreset) -> Size:
    """Build a preset on the meta device, so that nothing is allocated, and count."""
    import torch

    from bench.models.costs import macs, parameters

    with torch.device("meta"):
        model = registry.build(preset.spec(name), preset.image_size, preset.channels)
    if not getattr(model, "trains", True):
        return Size(parameters(model), None, None)
    count = macs(model, preset.image_size, preset.channels)
    return Size(parameters(model), count.total, count.without_attention)
