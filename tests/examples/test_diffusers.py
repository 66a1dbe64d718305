"""The adapter of diffusers' networks, with the real package: both pass the conformance suite."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from bench.models import conformance
from bench.models.registry import build
from bench.models.spec import ModelSpec

FILE = Path(__file__).resolve().parent.parent.parent / "examples" / "diffusers_models.py"


@pytest.mark.skipif(
    importlib.util.find_spec("diffusers") is None,
    reason="the optional package diffusers is not installed (pip install -e '.[diffusers]')",
)
@pytest.mark.parametrize(
    ("name", "options"),
    [("diffusers-unet", {"width": 8, "groups": 4}), ("diffusers-dit", {"width": 32, "depth": 1})],
)
def test_conformance(name, options):
    spec = ModelSpec(name, name, options, str(FILE))
    results = conformance.run(lambda: build(spec, 8, 3), 8, 3)
    assert not [r for r in results if r.status == "fail"], results
