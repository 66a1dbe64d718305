"""A fingerprint changes exactly when the code's meaning does."""

from __future__ import annotations

import pytest

from bench.suite import fingerprint, plan

SOURCE = '''"""Doc."""
import math

def area(r):
    """Area."""
    return 3 * r  # rough
'''


@pytest.fixture
def hashed(tmp_path):
    def of(text):
        path = tmp_path / "model.py"
        path.write_text(text)
        for cache in (fingerprint._tree, fingerprint._imports, fingerprint.definition_hashes):
            cache.cache_clear()
        return fingerprint.fingerprint(str(path))

    return of


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# rough", "# very rough", True),
        ('"""Area."""', '"""The area."""', True),
        ("3 * r", "(3*r)", True),
        ("import math\n", "import math\n\n\n", True),
        ("3 * r", "4 * r", False),
        ("3 * r", "3.0 * r", False),
        ("import math", "import cmath", False),
    ],
)
def test_only_meaning_counts(hashed, old, new, same):
    assert (hashed(SOURCE) == hashed(SOURCE.replace(old, new))) is same


def test_changes_are_named(tmp_path):
    old = {"m": {"f": "1", "g": "2"}, "gone": {}}
    new = {"m": {"f": "1", "g": "3"}, "fresh": {}}
    assert fingerprint.changes(old, new) == ["fresh (new)", "gone (gone)", "m: g"]


def test_a_training_depends_on_its_own_model_only():
    suite = plan.load("smoke")
    dit, unet = (
        fingerprint.module_hashes(*plan.entries("train", suite.run(f"disks-8.{m}.n10.s0").model))
        for m in ("dit-t16", "unet-t16")
    )
    assert "bench.models.dit" in dit and "bench.models.unet" not in dit
    assert "bench.models.unet" in unet and "bench.models.dit" not in unet
    assert "bench.diffusion.schedule" in dit
    assert not {"bench.suite.options", "bench.suite.config", "bench.report.items"} & {*dit, *unet}
