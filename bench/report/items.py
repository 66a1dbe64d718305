"""The figures and tables that a suite can ask for: each module that declares an ``ITEM`` is one.

A module's name is the item's name and begins with ``fig`` or ``tab``.  Declarations are read from the syntax tree, so
that listing items imports no module of them (nor matplotlib): Snakemake does it in every job.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.metrics.declare import measurements
from bench.suite import config
from bench.support import paths
from bench.support.errors import BenchError, nearest
from bench.support.files import digest

if TYPE_CHECKING:
    from bench.suite.plan import Plan

ROOT = Path(__file__).parent
EVERY = tuple(measurements())


@dataclass(frozen=True)
class Item:
    """A figure, drawn by ``draw`` of its module, or a table, built by ``build``.

    ``arrays`` are the ``.npz`` files of each run that it reads beside the tidy table, ``measures`` the measurements that
    it draws, the one that it needs of each run first (``training`` is the run itself; "every" means all), and
    ``counterpart`` what a paper's own one shows.  ``papers`` are the papers whose files it reads beside its own paper's
    (``*``: all); ``group`` is a heading of its own in the report and on the site.  All of these are literals.
    Of the module's docstring the first line is the ``subject``, the rest says how it is read (``reading``).
    """

    title: str
    arrays: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    counterpart: str = ""
    papers: str = ""
    group: str = ""
    subject: str = ""
    reading: str = ""
    name: str = ""
    module: str = ""

    @property
    def kind(self) -> str:
        """``figure`` or ``table``."""
        return "figure" if self.name.startswith("fig") else "table"

    @property
    def paper(self) -> str:
        """Key of the paper whose item it is, the name of the folder; empty if it is of any suite."""
        return self.module.split(".")[3] if self.module.startswith("bench.report.papers.") else ""


def _declared(path: Path) -> Item | None:
    """Return the item that a module declares, None if it declares none."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ITEM":
            assert isinstance(node.value, ast.Call)
            given: dict[Any, Any] = {word.arg: ast.literal_eval(word.value) for word in node.value.keywords}
            item = Item(*map(ast.literal_eval, node.value.args), **given)
            subject, _, reading = str(ast.get_docstring(tree)).partition("\n")
            module = ".".join(("bench.report", *path.relative_to(ROOT).with_suffix("").parts))
            measures = EVERY if item.measures == ("every",) else item.measures
            texts: dict[str, Any] = {"subject": subject.rstrip("."), "reading": " ".join(reading.split())}
            return dataclasses.replace(item, measures=measures, name=path.stem, module=module, **texts)
    return None


def discover() -> dict[str, Item]:
    """Return name -> item of every module that declares one, in the order of their titles."""
    files = [*ROOT.glob("figures/*.py"), *ROOT.glob("tables/*.py"), *ROOT.glob("papers/*/*.py")]
    found: dict[str, Item] = {}
    for item in filter(None, map(_declared, sorted(files))):
        assert item.name not in found, f"{item.module} and {found[item.name].module} have the same name"
        found[item.name] = item
    return dict(sorted(found.items(), key=lambda pair: _in_order(pair[1].title)))


def _in_order(title: str) -> list[tuple[int, str]]:
    """Return a key that sorts Figure 2 before Figure 10 before Figure A1."""
    return [
        (int(part), "") if part.isdigit() else (10**9, part) for part in re.split(r"(\d+)", title) if part
    ]


ITEMS = discover()


@functools.cache
def category(name: str) -> str:
    """Return the heading of an item in the report and on the site: its group, its paper, or neither."""
    item = ITEMS[name]
    if item.group or not item.paper:
        return item.group or f"Other {item.kind}s"
    about = config.folder() / "papers" / item.paper / "about.yaml"
    said = config.read_yaml(about) if about.exists() else {"cite": item.paper}
    if "cite" not in said:
        raise BenchError(f"{about}: the key 'cite' is missing.")
    return f"{said['cite']}: {item.kind}s"


def check_listed(plan: Plan) -> None:
    """Raise BenchError if a suite lists an unknown item, or one whose first measurement it does not take."""
    taken = {"training"}.union(*(plan.metrics(run) for run in plan.runs))
    for name in plan.items:
        if name not in ITEMS:
            raise BenchError(f"Suite {plan.suite!r}: items: there is no {name!r}{nearest(name, ITEMS)}.")
        needed = ITEMS[name].measures
        if needed and needed != EVERY and needed[0] not in taken:
            raise BenchError(
                f"Suite {plan.suite!r}: items: {name} needs {needed[0]}, which the suite does not measure; set "
                f"`measure: {{{needed[0]}: ...}}`, or remove the item."
            )


def stem_of(name: str, suite: str) -> Path:
    """Return the files of an item that is drawn of a suite, without their endings."""
    return (paths.figures_folder if ITEMS[name].kind == "figure" else paths.tables_folder)(suite) / name


def code_of(name: str) -> tuple[str, str]:
    """Return the modules whose code an item depends on."""
    return "bench.report.render", ITEMS[name].module


def data_of(name: str) -> str:
    """Return a digest of the papers' files that an item reads; empty if it reads none."""
    wanted = ITEMS[name].papers or ITEMS[name].paper
    files = sorted(config.folder().glob(f"papers/{wanted}/[!.]*")) if wanted else []
    return digest([path.read_text(encoding="utf-8") for path in files if path.is_file()]) if files else ""
