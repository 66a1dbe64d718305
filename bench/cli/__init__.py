"""``bench VERB ...``: parsing and printing. Each rule of the workflow is one such call, which you can also type.

One module per group of verbs; whatever is slow to import is imported inside the verb that needs it.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

import bench
from bench.cli import baselines, data, models, results, run, suite
from bench.support import root
from bench.support.errors import BenchError

app = typer.Typer(
    name="bench",
    help="A reproducible benchmark of how denoising networks generalize.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for group in (suite, run, data, models, results, baselines):
    app.add_typer(group.verbs)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"bench {bench.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """A reproducible benchmark of how denoising networks generalize."""


def main(words: list[str] | None = None) -> int:
    """Run one verb; return 0, 1 for bad input, 2 for a wrong command line, 75 for a training that can be resumed."""
    words = sys.argv[1:] if words is None else words
    try:
        if not {"-h", "--help", "--version"} & {*words} and "_BENCH_COMPLETE" not in os.environ:
            root.check()
        return app(words, prog_name="bench", standalone_mode=False) or 0
    except BenchError as error:
        print(f"bench: error: {error}", file=sys.stderr)
        return 1
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "bench"
        if message := error.format_message():  # without a verb only the help is shown
            print(f"bench: error: {message.rstrip('.')}; see `{command} --help`.", file=sys.stderr)
        return 2
    except Abort:
        return 130
    except BrokenPipeError:
        return 1
