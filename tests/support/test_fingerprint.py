"""A fingerprint changes exactly when the code's meaning does."""

from __future__ import annotations

import ast
import itertools
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.suite import plan
from bench.support import fingerprint

SOURCE = '''"""Doc."""
import math
import numpy as np
from typing import TYPE_CHECKING
from bench.support.console import say
from bench.support.errors import BenchError
from bench.support.options import check, option
from bench.training import options as training
import helper
if TYPE_CHECKING:
    import torch

LIMIT = 3

class Options:
    size: int = option(4, "of the thing")
    def __post_init__(self):
        check(self.size > 0, "size must be positive")

class Pair:
    left: int = 1

def area(r, s=2):
    """Area."""
    if r < 0:
        raise BenchError(f"r must not be negative, {r}.")
    say("computing")
    if r > LIMIT:
        print("large")
    return 3 * r + np.linalg.norm(r) + helper.twice(s) + len(training.recipe(r))  # rough
'''
HELPER = "from deeper import base\ndef twice(x):\n    return 2 * base(x)\n"
DEEPER = "def base(x):\n    return x\n"


@pytest.fixture
def hashed(tmp_path):
    """Return the function that gives the fingerprint of a model file with two modules beside it."""

    def of(text=SOURCE, helper=HELPER, deeper=DEEPER):
        folder = tmp_path / str(next(number))  # files are read once in a process
        folder.mkdir()
        for name, content in (("model", text), ("helper", helper), ("deeper", deeper)):
            (folder / f"{name}.py").write_text(content)
        return fingerprint.fingerprint(str(folder / "model.py"))

    number = itertools.count()
    return of


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# rough", "# very rough"),
        ('"""Area."""', '"""The area."""'),
        ("3 * r", "(3*r)"),
        ("import math\n", "\n\n"),
        ("def area(r, s=2)", "def area(r: float, s: int = 2) -> float"),
        ("r must not be negative, {r}", "r is negative"),
        ('say("computing")', 'say(f"computing {r}")'),
        ('    say("computing")\n', ""),
        ('    if r > LIMIT:\n        print("large")\n', ""),
        ("size must be positive", "give a positive size"),
        ('option(4, "of the thing")', 'option(5, "of a thing", "paper")'),
        ("    import torch", "    from torch import nn"),
        ("LIMIT = 3", "LIMIT: int = 3"),
        ("import numpy as np", "import numpy as np\nfrom numpy import linalg"),
        ("import numpy as np", "import numpy"),
        ("from bench.training import options as training", "import bench.training.options as training"),
    ],
)
def test_what_cannot_change_a_number_does_not_count(hashed, old, new):
    assert old in SOURCE
    text = SOURCE.replace(old, new)
    if "numpy as np" in old and "numpy as np" not in new:
        text = text.replace("np.linalg", "numpy.linalg")
    assert hashed(text) == hashed()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("3 * r", "4 * r"),
        ("3 * r", "3.0 * r"),
        ("s=2", "s=3"),
        ("r < 0", "r <= 0"),
        ("raise BenchError", "raise ValueError"),
        ("import numpy as np", "import scipy as np"),
        ("LIMIT = 3", "LIMIT = 4"),
        ("left: int = 1", "left: int = 2"),
        ("left: int = 1", "left = 1"),
        ("from bench.training import options as training", "from bench.data import options as training"),
    ],
)
def test_what_can_counts(hashed, old, new):
    assert old in SOURCE
    assert hashed(SOURCE.replace(old, new)) != hashed()


def test_files_beside_a_users_model_count_where_they_are_imported(hashed, tmp_path):
    whole = hashed()
    assert hashed(helper=HELPER.replace("2 *", "3 *")) != whole
    assert hashed(deeper=DEEPER.replace("return x", "return -x")) != whole
    assert hashed(deeper=DEEPER + "# a comment\n") == whole
    (tmp_path / "other.py").write_text("x = 1\n")
    assert hashed() == whole


def test_a_definition_may_move_to_another_module(hashed):
    moved = SOURCE.replace("LIMIT = 3\n", "").replace(
        "import helper\n", "import helper\nfrom helper import LIMIT\n"
    )
    assert hashed(moved, HELPER + "LIMIT = 3\n") == hashed()


def test_two_modules_with_the_same_name_are_told_apart(hashed):
    text = (
        SOURCE.replace("import helper\n", "import helper, deeper\nfrom helper import scale\n")
        + "BIG = scale(2)\n"
    )
    helper, deeper = HELPER + "def scale(x): return x\n", DEEPER + "def scale(x): return 2 * x\n"
    other = text.replace("from helper import scale", "from deeper import scale")
    assert hashed(text, helper, deeper) != hashed(other, helper, deeper)


def test_changes_are_named():
    old = {"m": {"f": "1", "g": "2", "h": "5"}, "gone": {"x": "7"}}
    new = {"m": {"f": "1", "g": "3"}, "fresh": {"h": "5", "y": "8"}}
    assert fingerprint.changes(old, new) == ["fresh: y (new)", "gone: x (gone)", "m: g"]


def test_a_training_depends_on_its_own_model_only():
    suite = plan.load("smoke")
    dit, unet = (
        {s.name for s in fingerprint.closure(*plan.entries("train", suite.run(f"disks-8.{m}.n10.s0").model))}
        for m in ("dit-t16", "unet-t16")
    )
    assert "bench.models.dit" in dit and "bench.models.unet" not in dit
    assert "bench.models.unet" in unet and "bench.models.dit" not in unet
    assert "bench.diffusion.schedule" in dit
    assert not {"bench.suite.options", "bench.suite.config", "bench.report.items"} & {*dit, *unet}


@pytest.mark.parametrize("name", sorted(fingerprint.LEFT_OUT))
def test_a_module_that_is_left_out_cannot_compute(name):
    """Neither torch nor numpy nor scipy may be imported where a change would go unnoticed."""
    tree = ast.parse(Path(find_spec(name).origin).read_text(encoding="utf-8"))
    typing = [
        node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    only_types = {inner for node in typing for inner in ast.walk(node)}
    imported = set()
    for node in set(ast.walk(tree)) - only_types:
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert not imported & {"torch", "numpy", "scipy"}
