"""``bench models``: what there is, how large it is, where it comes from; and the conformance suite."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from bench.models.spec import ModelSpec
from bench.support.errors import BenchError, nearest


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``bench models`` and ``bench models check``."""
    parser.add_argument("--json", action="store_true", help="machine-readable list")
    parser.set_defaults(run=list_models)
    actions = parser.add_subparsers(dest="action", metavar="[check | match]")
    check = actions.add_parser("check", help="run the conformance suite on a preset or on your own file")
    check.add_argument("model", help="a preset, or FILE.py, or FILE.py:NAME")
    check.add_argument("--image-size", type=int, help="side in pixels (default: the preset's; 16 for a file)")
    check.add_argument("--channels", type=int, help="image channels (default: the preset's; 1 for a file)")
    check.add_argument("--compile", action="store_true", help="also check torch.compile")
    _add_set(check)
    check.set_defaults(run=check_model)
    match = actions.add_parser(
        "match", help="propose the width or depth that gives a model the cost of a preset"
    )
    match.add_argument("model", help="a preset, or FILE.py, or FILE.py:NAME")
    match.add_argument("--to", required=True, metavar="PRESET", help="the preset whose size is wanted")
    match.add_argument(
        "--option", action="append", help="whole-number option to change (default: width, depth); repeatable"
    )
    match.add_argument("--json", action="store_true", help="machine-readable list")
    _add_set(match)
    match.set_defaults(run=match_model)


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the model, YAML; repeatable",
    )


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
    from bench.suite.config import load_models

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


def check_model(arguments: argparse.Namespace) -> None:
    """Print one line per check; raises BenchError that names the first where some fail."""
    import torch

    from bench.models import conformance
    from bench.models.registry import build

    spec, side, channels = _target(arguments.model, arguments.set)
    side, channels = arguments.image_size or side, arguments.channels or channels
    torch.set_num_threads(min(torch.get_num_threads(), 4))
    results = conformance.run(lambda: build(spec, side, channels), side, channels, arguments.compile)
    for result in results:
        print(f"{result.status}  {result.check}{': ' + result.reason if result.reason else ''}")
    failed = [result for result in results if result.status == "fail"]
    print(f"{spec.name}: {len(results) - len(failed)} of {len(results)} checks passed or do not apply.")
    if failed:
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise BenchError(
            f"{spec.file or 'config/models.yaml'}: {spec.name} fails the check {failed[0].check} for "
            f"{side}x{side}x{channels} images: {failed[0].reason.splitlines()[0]}{more}; mend the model."
        )


def match_model(arguments: argparse.Namespace) -> None:
    """Print, for the model as it stands and for each proposal, its size beside the target's."""
    from bench.models.match import proposals, size_of

    target, side, channels = _target(arguments.to, [])
    spec, _, _ = _target(arguments.model, arguments.set)
    wanted = size_of(target, side, channels)
    own = size_of(spec, side, channels)
    found = proposals(spec, wanted, side, channels, arguments.option)
    rows = [
        {"change": None, "equal": None, "size": own},
        *({"change": {p.option: p.value}, "equal": p.by, "size": p.size} for p in found),
    ]
    for row in rows:
        size = row.pop("size")
        row |= size._asdict() | {
            f"{by}_ratio": getattr(size, by) / getattr(wanted, by) for by in size._fields
        }
    if arguments.json:
        print(json.dumps({"model": spec.name, "to": target.name, **wanted._asdict(), "rows": rows}, indent=1))
        return
    print(f"{target.name} ({side}x{side}x{channels}): {_size_text(wanted.parameters, wanted.macs)}")
    for row in rows:
        change = " ".join(
            f"{key}: {value}" for key, value in (row["change"] or {"as it is": spec.name}).items()
        )
        print(
            f"{change:24}  {_size_text(row['parameters'], row['macs'])}  "
            f"parameters {row['parameters_ratio'] - 1:+.1%}, multiply-adds {row['macs_ratio'] - 1:+.1%}"
            f"{'  <- equal ' + MEASURE_WORDS[row['equal']] if row['equal'] else ''}"
        )


MEASURE_WORDS = {"macs": "multiply-adds", "parameters": "parameters"}


def _size_text(parameters: int, macs: int) -> str:
    return f"{parameters / 1e6:.3f} M parameters, {macs / 1e9:.3f} GMAC"


def _spec(name: str, preset: Any) -> ModelSpec:
    return ModelSpec(name, preset.family, preset.options, preset.file)


def _target(text: str, changes: list[str]) -> tuple[ModelSpec, int, int]:
    """Return the preset or the model of a file, its options changed, with image side and channels."""
    spec, side, channels = _named(text)
    return dataclasses.replace(spec, options={**spec.options, **_values(changes)}), side, channels


def _values(changes: list[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` texts as a mapping, values read as YAML; raises BenchError."""
    import yaml

    values = {}
    for change in changes:
        key, found, text = change.partition("=")
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise BenchError(f"--set {change}: {text!r} is not YAML; quote it.") from error
        if not found:
            raise BenchError(f"--set {change} lacks a value; write --set {change}=VALUE.")
    return values


def _named(text: str) -> tuple[ModelSpec, int, int]:
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
    from bench.suite.config import load_models

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
