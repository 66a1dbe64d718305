"""Which code a result depends on.

The fingerprint of a result is the hash of the import closure of its entry points, read through the
syntax tree: comments, docstrings and formatting do not count.  Options travel beside it (the resolved
run), and so do library versions (in the environment), so neither is part of the fingerprint.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

from bench.support.errors import BenchError

ROOT = Path(__file__).resolve().parents[2]
# Options are compared by value; the rest says, lists, schedules or records, and cannot change a number.
LEFT_OUT = {
    "bench",
    "bench.suite.options",
    "bench.support.options",
    "bench.training.options",
    "bench.metrics.declare",
    "bench.models.spec",
    "bench.suite.config",
    "bench.suite.fingerprint",
    "bench.support.provenance",
    "bench.support.console",
    "bench.support.errors",
    "bench.support.paths",
    "bench.support.expected_code",
    "bench.results.tidy",
    "bench.models.families",
}


def fingerprint(*entries: str) -> str:
    """Return the code fingerprint (16 hex digits) of module names or paths of Python files."""
    text = "\n".join(f"{name} {hash_}" for name, hash_ in sorted(module_hashes(*entries).items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def module_hashes(*entries: str) -> dict[str, str]:
    """Return the normalised hash of every module in the import closure of ``entries``."""
    waiting, found = list(entries), {}
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in found or path is None or (name in LEFT_OUT and name not in entries):
            continue
        found[name] = hashlib.sha256("".join(definition_hashes(path).values()).encode()).hexdigest()[:16]
        waiting += _imports(path)
    return found


def _file(name: str) -> Path | None:
    if name.endswith(".py"):
        return Path(name)
    path = ROOT.joinpath(*name.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


@functools.cache
def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} cannot be read as Python ({error}); mend the file.") from error


@functools.cache
def _imports(path: Path) -> tuple[str, ...]:
    """Return the names of the project's modules that a file imports, anywhere in it."""
    names: list[str] = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(n for n in names if n.startswith("bench.") and _file(n) is not None)


@functools.cache
def definition_hashes(path: Path) -> dict[str, str]:
    """Return the normalised hash of each top-level definition of a file, in order; other lines as 'top level'."""
    hashes: dict[str, str] = {}
    loose: list[str] = []
    for node in _tree(path).body:
        if _is_declaration(node):
            continue
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            hashes[node.name] = hashlib.sha256(_normal(node).encode()).hexdigest()[:16]
        elif not _is_text(node):
            loose.append(_normal(node))
    return {**hashes, "top level": hashlib.sha256("".join(loose).encode()).hexdigest()[:16]}


def _is_declaration(node: ast.AST) -> bool:
    """Whether a definition declares options, which are compared by value, or what a measurement is."""
    if isinstance(node, ast.ClassDef):
        return any("__pydantic_config__" in ast.unparse(line) for line in node.body)
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MEASUREMENT"


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _normal(node: object) -> str:
    """Return a text of a syntax tree that does not depend on positions, docstrings or the Python version."""
    if isinstance(node, ast.AST):
        fields = (
            (name, value) for name, value in ast.iter_fields(node) if name not in ("kind", "type_comment")
        )
        inner = ",".join(f"{name}={_normal(value)}" for name, value in fields if value not in (None, []))
        return f"{type(node).__name__}({inner})"
    if isinstance(node, list):
        return "[" + ",".join(_normal(item) for item in node if not _is_text(item)) + "]"
    return repr(node)


def definitions(*entries: str) -> dict[str, dict[str, str]]:
    """Return module -> definition -> hash of the closure, the record that ``bench why`` compares with."""
    return {name: definition_hashes(_file(name)) for name in sorted(module_hashes(*entries))}


def changes(old: dict[str, dict[str, str]], new: dict[str, dict[str, str]]) -> list[str]:
    """Name each definition that differs between two records of :func:`definitions`."""
    found = []
    for module in sorted({*old, *new}):
        before, after = old.get(module), new.get(module)
        if before is None or after is None:
            found.append(f"{module} ({'new' if before is None else 'gone'})")
            continue
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name):
                found.append(f"{module}: {name}")
    return found
