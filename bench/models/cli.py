"""``bench models``: what there is, how large it is, where it comes from; and the conformance suite."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench.errors import BenchError, nearest
from bench.options import ModelSpec


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``bench models`` and ``bench models check``."""
    parser.add_argument("--json", action="store_true", help="machine-readable list")
    parser.set_defaults(run=list_models)
    actions = parser.add_subparsers(dest="action", metavar="[check]")
    check = actions.add_parser("check", help="run the conformance suite on a preset or on your own file")
    check.add_argument("model", help="a preset, or FILE.py, or FILE.py:NAME")
    check.add_argument("--image-size", type=int, help="side in pixels (default: the preset's; 16 for a file)")
    check.add_argument("--channels", type=int, help="image channels (default: the preset's; 1 for a file)")
    check.add_argument("--compile", action="store_true", help="also check torch.compile")
    check.set_defaults(run=check_model)


VERBS = {"models": configure}

COLUMNS = {
    "name": "name",
    "family": "family",
    "image": "image",
    "parameters": "parameters (M)",
    "gmac": "GMAC",
    "gmac_without_attention": "without attention products",
    "source": "source",
    "interpretation": "",
}


def list_models(arguments: argparse.Namespace) -> None:
    """Print every preset with its size and cost for one image of the size it is meant for."""
    from bench.config import load_models

    rows = [describe(name, preset) for name, preset in load_models().items()]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    lines = [list(COLUMNS.values()), *([_cell(row[key], key) for key in COLUMNS] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def describe(name: str, preset: Any) -> dict[str, Any]:
    """Return one row of the list; the network is built on the meta device, so that nothing is allocated."""
    import torch

    from bench.models.costs import macs, parameters
    from bench.models.registry import build

    with torch.device("meta"):
        model = build(_spec(name, preset), preset.image_size, preset.channels)
    count = macs(model, preset.image_size, preset.channels) if getattr(model, "trains", True) else None
    return {
        "name": name,
        "family": preset.family,
        "image": f"{preset.image_size}x{preset.image_size}x{preset.channels}",
        "parameters": parameters(model),
        "gmac": count and count.total / 1e9,
        "gmac_without_attention": count and count.without_attention / 1e9,
        "source": preset.source,
        "interpretation": preset.interpretation,
    }


def check_model(arguments: argparse.Namespace) -> int:
    """Print one line per check; return 1 when one fails."""
    import torch

    from bench.models import conformance
    from bench.models.registry import build

    spec, side, channels = _target(arguments.model)
    side, channels = arguments.image_size or side, arguments.channels or channels
    torch.set_num_threads(min(torch.get_num_threads(), 4))
    results = conformance.run(lambda: build(spec, side, channels), side, channels, arguments.compile)
    for result in results:
        print(f"{result.status}  {result.check}{': ' + result.reason if result.reason else ''}")
    failed = sum(result.status == "fail" for result in results)
    print(f"{spec.name}: {len(results) - failed} of {len(results)} checks passed or do not apply.")
    return int(failed > 0)


def _spec(name: str, preset: Any) -> ModelSpec:
    return ModelSpec(name, preset.family, preset.options, preset.file)


def _target(text: str) -> tuple[ModelSpec, int, int]:
    """Return the preset, or the model of a file, that is checked, with image side and channels."""
    path, _, name = text.partition(":")
    if path.endswith(".py"):
        from bench.models.registry import models_in_file

        found = models_in_file(path)
        if not name and len(found) > 1:
            raise BenchError(
                f"{path} registers {', '.join(sorted(found))}; say which one: {path}:{min(found)}."
            )
        family = name or next(iter(found))
        return ModelSpec(family, family, {}, str(Path(path))), 16, 1
    from bench.config import load_models

    presets = load_models()
    if text not in presets:
        raise BenchError(
            f"There is no model preset {text!r}{nearest(text, presets)}; `bench models` lists them all."
        )
    preset = presets[text]
    return _spec(text, preset), preset.image_size, preset.channels


def _cell(value: Any, key: str) -> str:
    if key == "interpretation":
        return "interpretation" if value else ""
    if value is None:
        return "-"
    if key == "parameters":
        return f"{value / 1e6:.3f}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
