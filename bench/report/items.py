"""The figures and tables that a suite can ask for: each module that declares an ``ITEM`` is one.

A module's name is the item's name and begins with ``fig`` or ``tab``.  Declarations are read from the syntax tree, so
that listing items imports no module of them (nor matplotlib): Snakemake does it in every job.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.metrics.declare import measurements
from bench.support.errors import BenchError, nearest

if TYPE_CHECKING:
    from bench.suite.plan import Plan

ROOT = Path(__file__).parent
EVERY = tuple(measurements())


@dataclass(frozen=True)
class Item:
    """A figure, drawn by ``draw`` of its module, or a table, built by ``build``.

    ``subject`` says in a few words what it shows, ``reading`` how it is read, ``arrays`` are the ``.npz`` files of each
    run that it reads beside the tidy table, ``measures`` the measurements that it draws, the one that it needs of each
    run first (``training`` is the run itself; "every" stands for all), and ``counterpart`` what a paper's own one shows.
    ``group`` is the heading that the report and the site list it under where it is neither a paper's nor one of the
    appendix.  All values are literals; name and module are those of the file.
    """

    title: str
    subject: str
    reading: str = ""
    arrays: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    counterpart: str = ""
    group: str = ""
    name: str = ""
    module: str = ""

    @property
    def kind(self) -> str:
        """``figure`` or ``table``."""
        return "figure" if self.name.startswith("fig") else "table"

    @property
    def paper(self) -> str:
        """Key of the paper whose item it is, the name of the folder; empty where it is of any suite."""
        return self.module.split(".")[3] if self.module.startswith("bench.report.papers.") else ""


def _declared(path: Path) -> Item | None:
    """Return the item that a module declares, None where it declares none."""
    for node in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ITEM":
            given = {word.arg: ast.literal_eval(word.value) for word in node.value.keywords}
            item = Item(*map(ast.literal_eval, node.value.args), **given)
            module = ".".join(("bench.report", *path.relative_to(ROOT).with_suffix("").parts))
            measures = EVERY if item.measures == ("every",) else item.measures
            return dataclasses.replace(item, name=path.stem, module=module, measures=measures)
    return None


def discover() -> dict[str, Item]:
    """Return name -> item of every module that declares one, in the order of their titles."""
    files = [*ROOT.glob("figures/*.py"), *ROOT.glob("tables/*.py"), *ROOT.glob("papers/*/*.py")]
    found: dict[str, Item] = {}
    for item in filter(None, map(_declared, sorted(files))):
        assert item.name not in found, f"{item.module} and {found[item.name].module} are items of one name"
        found[item.name] = item
    return dict(sorted(found.items(), key=lambda pair: _in_order(pair[1].title)))


def _in_order(title: str) -> list[tuple[int, str]]:
    """Return a key that sorts Figure 2 before Figure 10 before Figure A1."""
    return [
        (int(part), "") if part.isdigit() else (10**9, part) for part in re.split(r"(\d+)", title) if part
    ]


ITEMS = discover()


def category(name: str) -> str:
    """Return the heading that an item stands under in the report and on the site."""
    item = ITEMS[name]
    return item.group or f"{'Paper' if item.paper else 'Appendix'} {item.kind}s"


def check_listed(plan: Plan) -> None:
    """Raise BenchError where a suite lists an item that there is not, naming the nearest."""
    for name in plan.items:
        if name not in ITEMS:
            raise BenchError(f"Suite {plan.suite!r}: items: there is no {name!r}{nearest(name, ITEMS)}.")


def code_of(name: str) -> tuple[str, str]:
    """Return the modules whose code an item depends on."""
    return "bench.report.render", ITEMS[name].module
