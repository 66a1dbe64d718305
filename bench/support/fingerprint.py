"""Which code a result depends on.

The fingerprint of a result is a hash of the definitions in the import closure of its entry points, read through the
syntax tree.  What cannot change a number does not count: comments, docstrings, formatting, annotations, the words of
an error or a log line, the declaration of an option (its value travels in the resolved run), and where a definition
lies: names are taken as they were defined, so that a moved module or another style of import changes nothing.
Library versions travel in the environment of a result.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.support.errors import BenchError
from bench.support.paths import ROOT

PROJECT = "bench"
# Modules that declare, store, lock, watch or report. None of them may import torch, numpy or scipy (tested).
LEFT_OUT = {
    "bench",
    "bench.metrics.declare",
    "bench.models.families",
    "bench.models.machine_costs",
    "bench.models.options",
    "bench.models.spec",
    "bench.suite.config",
    "bench.suite.options",
    "bench.suite.submitted",
    "bench.support.console",
    "bench.support.errors",
    "bench.support.files",
    "bench.support.git",
    "bench.support.fingerprint",
    "bench.support.options",
    "bench.support.paths",
    "bench.support.provenance",
    "bench.support.root",
    "bench.training.checkpoint",
    "bench.training.lock",
    "bench.training.log",
}
SILENT = {"print", "warnings.warn", "bench.support.console.say", "bench.support.options.check"}
DECLARING = {
    "bench.metrics.declare.Margin",
    "bench.metrics.declare.Measurement",
    "bench.metrics.declare.Row",
    "bench.support.options.option",
    "bench.support.options.required",
}
BLOCKS = ("body", "handlers", "cases", "orelse", "finalbody")
UNREAD = {"annotation", "returns", "ctx", "kind", "type_comment", "type_params", "type_ignores"}


class Source(NamedTuple):
    """A Python file under the name it is imported by; ``root`` is the folder of a user's own modules."""

    name: str
    path: Path
    root: Path


def fingerprint(*entries: str) -> str:
    """Return the fingerprint (16 hex digits) of the code behind module names or paths of Python files."""
    pairs = [pair for found in definitions(*entries).values() for pair in found.items()]
    return _hash("\n".join(f"{name} {value}" for name, value in sorted(pairs)))


def definitions(*entries: str) -> dict[str, dict[str, str]]:
    """Return module -> definition -> hash of the import closure of ``entries``, what ``bench why`` compares.

    ``imports`` tells apart what a module takes from two modules that define the same name.
    """
    files = [_parsed(source) for source in sorted(closure(*entries))]
    hashes = {file.source.name: dict(file.hashes) for file in files}
    owners = Counter(name for file in files for name in file.hashes)
    for file in files:
        shared = [(module, name) for module, name in file.uses if module in hashes and owners[name] > 1]
        if shared:
            choices = sorted(f"{name} {hashes[module].get(name)}" for module, name in shared)
            hashes[file.source.name]["imports"] = _hash("\n".join(choices))
    return hashes


def closure(*entries: str) -> set[Source]:
    """Return the files that the entries import, directly or not, themselves included."""
    waiting = [source for entry in entries if (source := _entry(entry)) is not None]
    found: set[Source] = set()
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting += [s for s in _parsed(source).imports if s.name not in LEFT_OUT]
    return found


def changes(old: dict[str, dict[str, str]], new: dict[str, dict[str, str]]) -> list[str]:
    """Name each definition that differs between two results of :func:`definitions`; a moved one does not."""
    before = {(name, value): module for module, found in old.items() for name, value in found.items()}
    after = {(name, value): module for module, found in new.items() for name, value in found.items()}
    was = {(before[key], key[0]) for key in before.keys() - after.keys()}
    now = {(after[key], key[0]) for key in after.keys() - before.keys()}
    words = {(True, True): "", (True, False): " (gone)", (False, True): " (new)"}
    return [f"{one[0]}: {one[1]}{words[one in was, one in now]}" for one in sorted(was | now)]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _entry(name: str) -> Source | None:
    if name.endswith(".py"):
        return Source(name, Path(name), Path(name).parent)
    return _find(name, ROOT)


@functools.cache
def _find(name: str, root: Path) -> Source | None:
    """Return the file of a module of the project, or of one that is in ``root`` beside a user's model."""
    top = ROOT if name.split(".")[0] == PROJECT else root
    path = top.joinpath(*name.split("."))
    file = next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
    return Source(name, file, top) if file else None


class _File(NamedTuple):
    """``hashes`` of the top-level definitions of a file; what it ``imports``; ``uses``, as (module, definition)."""

    source: Source
    hashes: dict[str, str]
    imports: tuple[Source, ...]
    uses: frozenset[tuple[str, str]]


@functools.cache
def _parsed(source: Source) -> _File:
    try:
        tree = ast.parse(source.path.read_text(encoding="utf-8"), filename=str(source.path))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise BenchError(f"{source.path} cannot be read as Python ({error}); fix the file.") from error
    found = list(_imported(tree, source))
    reader = _Reader(dict(found), source.root)
    texts: dict[str, list[str]] = {}
    for node in tree.body:
        if text := reader.statement(node):
            texts.setdefault(_name(node), []).append(text)
    imports = {module for _, full in found for module in _modules(full, source.root)}
    hashes = {name: _hash("".join(parts)) for name, parts in texts.items()}
    return _File(source, hashes, tuple(sorted(imports)), frozenset(reader.uses))


def _name(node: ast.stmt) -> str:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        return node.name
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0])
    return ast.unparse(node.target) if isinstance(node, (ast.AnnAssign, ast.AugAssign)) else "top level"


def _imported(tree: ast.Module, source: Source) -> Iterator[tuple[str, str]]:
    """Yield each name that an import anywhere in a file binds, with the full name that it refers to."""
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (first, first)
                yield alias.name, alias.name  # read, though only the first part is bound
        elif isinstance(node, ast.ImportFrom):
            package = source.name.split(".")[: -node.level] if node.level else []
            base = [*package, *([node.module] if node.module else [])]
            for alias in node.names:
                yield alias.asname or alias.name, ".".join([*base, alias.name])


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield all statements of a file, those of a block after all that are less deep; expressions hold none."""
    waiting = deque[ast.AST]([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        for block in BLOCKS:
            waiting.extend(getattr(node, block, ()))


@functools.cache
def _modules(full: str, root: Path) -> tuple[Source, ...]:
    """Return the modules that importing ``full`` (a module, or a definition in one) reads, packages included."""
    parts = full.split(".")
    found = (_find(".".join(parts[:count]), root) for count in range(1, len(parts) + 1))
    return tuple(source for source in found if source is not None)


class _Reader:
    """The text of syntax trees, without what cannot change a number and with full names for imported ones."""

    def __init__(self, bound: dict[str, str], root: Path) -> None:
        self.bound, self.root = bound, root
        self.uses: set[tuple[str, str]] = set()

    def statement(self, node: ast.stmt, of_class: bool = False) -> str:
        """Return the text of a statement, empty if it does not count."""
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass)) or self._says(node):
            return ""
        if isinstance(node, ast.Raise):
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            return f"Raise({self.text(error)})"
        if isinstance(node, ast.Assert):
            return f"Assert({self.text(node.test)})"
        if isinstance(node, ast.AnnAssign):
            value = node.value
            if self._calls(value, DECLARING) or not (value or of_class):
                return ""
            kind = "Field" if of_class else "Assign"
            return f"{kind}({self.text(node.target)},{self.text(value)})"
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            if self._calls(node.value, DECLARING):
                return ""
            return f"Assign({self.text(node.targets[0])},{self.text(node.value)})"
        if isinstance(node, ast.If) and not (self.body(node.body) or self.body(node.orelse)):
            return ""
        return self.text(node)

    def _says(self, node: ast.stmt) -> bool:
        if isinstance(node, ast.If):
            return self._full(node.test) == "typing.TYPE_CHECKING"
        value = node.value if isinstance(node, ast.Expr) else None
        return isinstance(value, ast.Constant) or self._calls(value, SILENT)

    def _calls(self, node: ast.expr | None, names: set[str]) -> bool:
        return isinstance(node, ast.Call) and self._full(node.func) in names

    def _full(self, node: ast.expr) -> str | None:
        """Return the full dotted name of a name or attribute, where its first part is a plain name."""
        attributes = []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        return ".".join([self.bound.get(node.id, node.id), *reversed(attributes)])

    def body(self, nodes: list, of_class: bool = False) -> str:
        """Return the text of a list of nodes."""
        texts = (
            self.statement(node, of_class) if isinstance(node, ast.stmt) else self.text(node)
            for node in nodes
        )
        return ";".join(text for text in texts if text)

    def text(self, node: object) -> str:
        """Return the text of a node, independent of positions and of the version of Python."""
        if isinstance(node, list):
            return f"[{self.body(node)}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, (ast.Name, ast.Attribute)) and (full := self._full(node)):
            return self._defined(full)
        inner = []
        for name in node._fields:
            value = None if name in UNREAD else getattr(node, name, None)
            if name == "body" and isinstance(node, ast.ClassDef):
                inner.append(f"body=[{self.body(node.body, of_class=True)}]")
            elif value is not None and value != []:
                inner.append(f"{name}={self.text(value)}")
        return f"{type(node).__name__}({','.join(inner)})"

    def _defined(self, full: str) -> str:
        """Return a name without the modules that contain it, where they are the project's or the user's."""
        modules = _modules(full, self.root) if "." in full else []
        if not modules:
            return full
        name = full.removeprefix(f"{modules[-1].name}.")
        self.uses.add((modules[-1].name, name.split(".")[0]))
        return name
