"""``bench models``: list the presets, check one against the conformance suite, match its size to another's."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Annotated, Any

import typer

from bench.cli.arguments import Changes, Json, Model, parse_changes, print_table, suite_option
from bench.models.spec import ModelSpec
from bench.support.console import say
from bench.support.errors import BenchError

verbs = typer.Typer()
app = typer.Typer(invoke_without_command=True)
verbs.add_typer(
    app, name="models", rich_help_panel="Models", help="List the model presets; check or match one."
)

COLUMNS = ("name", "family", "image", "parameters (M)", "GMAC", "without attention products", "source", "")


@app.callback()
def list_models(
    context: typer.Context,
    json_: Json = False,
    store: Annotated[bool, typer.Option("--store", help="Store the counts in config/.")] = False,
) -> None:
    """List every preset with its size and its cost for one image of its intended size."""
    from bench.jobs import sizes
    from bench.suite.config import load_models

    if context.invoked_subcommand:
        return
    presets = load_models()
    found = sizes.sizes(presets)
    if store:
        say(str(sizes.store(presets, found)))
    if json_:
        rows = [_row(name, presets[name]) | size._asdict() for name, size in found.items()]
        print(json.dumps(rows, indent=1))
        return
    lines = []
    for name, size in found.items():
        about = _row(name, presets[name])
        counts = (f"{size.parameters / 1e6:.3f}", *map(_giga, size[1:]))
        marked = "interpretation" if about["interpretation"] else ""
        lines.append((name, about["family"], about["image"], *counts, about["source"], marked))
    print_table([COLUMNS, *lines])


def _row(name: str, preset: Any) -> dict[str, Any]:
    image = f"{preset.image_size}x{preset.image_size}x{preset.channels}"
    about = {"name": name, "family": preset.family, "image": image}
    return about | {"source": preset.source, "interpretation": preset.interpretation}


def _giga(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e9:.3f}"


@app.command()
def check(
    model: Model,
    image_size: Annotated[
        int | None, typer.Option(help="Side in pixels.", show_default="the preset's; 16 for a file")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="Image channels.", show_default="the preset's; 1 for a file")
    ] = None,
    suite: Annotated[str | None, suite_option("Check with every image shape of a suite.")] = None,
    compile_: Annotated[bool, typer.Option("--compile", help="Also check torch.compile.")] = False,
    set_: Changes = None,
) -> None:
    """Run the conformance suite on a preset or on a file of your own."""
    import torch

    from bench.models import conformance
    from bench.models.registry import build
    from bench.suite.plan import load

    spec, side, depth = _target(model, set_)
    shapes = [(image_size or side, channels or depth)]
    if suite:
        shapes = sorted({(row.resolution, row.channels) for row in load(suite).datasets.values()})
    torch.set_num_threads(min(torch.get_num_threads(), 4))
    for side, depth in shapes:
        results = conformance.run(functools.partial(build, spec, side, depth), side, depth, compile_)
        for result in results:
            print(f"{result.status}  {result.check}{': ' + result.reason if result.reason else ''}")
        failed = [result for result in results if result.status == "fail"]
        count = f"{len(results) - len(failed)} of {len(results)}"
        print(f"{spec.name}, {side}x{side}x{depth}: {count} checks passed or do not apply.")
        if failed:
            more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
            raise BenchError(
                f"{spec.file or 'config/models.yaml'}: {spec.name} fails the check {failed[0].check} for "
                f"{side}x{side}x{depth} images: {failed[0].reason.splitlines()[0]}{more}; fix the model."
            )


@app.command()
def match(
    model: Model,
    to: Annotated[str, typer.Option(metavar="PRESET", help="Preset whose size to match.")],
    option: Annotated[
        list[str] | None,
        typer.Option(help="Whole-number option to change; repeatable.", show_default="width, depth"),
    ] = None,
    json_: Json = False,
    set_: Changes = None,
) -> None:
    """Propose the width or depth that gives a model the cost of a preset."""
    from bench.models.match import proposals, size_of

    target, side, channels = _target(to, None)
    spec, _, _ = _target(model, set_)
    wanted = size_of(target, side, channels)
    own = size_of(spec, side, channels)
    rows: list[dict[str, Any]] = [{"change": None, "equal": None, "size": own}]
    for p in proposals(spec, wanted, side, channels, option):
        rows.append({"change": {p.option: p.value}, "equal": p.by, "size": p.size})
    for row in rows:
        size = row.pop("size")
        row |= size._asdict() | {
            f"{by}_ratio": getattr(size, by) / getattr(wanted, by) for by in size._fields
        }
    if json_:
        print(json.dumps({"model": spec.name, "to": target.name, **wanted._asdict(), "rows": rows}, indent=1))
        return
    print(f"{target.name} ({side}x{side}x{channels}): {_size_text(wanted.parameters, wanted.macs)}")
    for row in rows:
        change = " ".join(
            f"{key}: {value}" for key, value in (row["change"] or {"as it is": spec.name}).items()
        )
        words = {"macs": "multiply-adds", "parameters": "parameters", None: ""}
        print(
            f"{change:24}  {_size_text(row['parameters'], row['macs'])}  "
            f"parameters {row['parameters_ratio'] - 1:+.1%}, multiply-adds {row['macs_ratio'] - 1:+.1%}"
            f"{'  <- equal ' + words[row['equal']] if row['equal'] else ''}"
        )


def _size_text(parameters: int, macs: int) -> str:
    return f"{parameters / 1e6:.3f} M parameters, {macs / 1e9:.3f} GMAC"


def _target(text: str, changes: list[str] | None) -> tuple[ModelSpec, int, int]:
    """Return a preset or the model of a file, its options changed, with image side and channels."""
    from bench.suite.candidate import find_preset
    from bench.suite.config import load_models

    name, preset = find_preset(text, load_models())
    spec = dataclasses.replace(preset, options={**preset.options, **parse_changes(changes or [])}).spec(name)
    return spec, preset.image_size, preset.channels
