"""A file that someone brings and that is wrong: one clear sentence from the commands, no traceback."""

from __future__ import annotations

import json

import pytest
from stored import MODEL

from bench.cli import main

RETURNS = "return self.inner(x)"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\n", "my_model.py registers no model; decorate a factory with @register_model('name')."),
        (MODEL + MODEL, "my_model.py registers the model 'mine' twice; give one of the two another name."),
        (
            MODEL.replace(RETURNS, "return self.inner(x)[..., 1:]"),
            "my_model.py: mine fails the check shapes for 8x8x1 images: forward gives (1, 1, 8, 7) for images of "
            "(1, 1, 8, 8)",
        ),
        (
            "import a_package_nobody_has\n" + MODEL,
            "needs the package 'a_package_nobody_has'; install it first.",
        ),
        (
            MODEL.replace(RETURNS, "raise RuntimeError('too deep')"),
            "my_model.py: mine fails the check shapes for 8x8x1 images: RuntimeError: too deep",
        ),
        (
            MODEL.replace("return Mine()", "return torch.nn.Linear(1, 2, 3, 4, 5, 6)"),
            "my_model.py: the factory of 'mine' fails for 8x8x1 images (TypeError: ",
        ),
    ],
)
def test_models_check(tmp_path, monkeypatch, capsys, text, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(text)
    assert main(["models", "check", "my_model.py", "--image-size", "8"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("bench: error: ") and error.count("\n") == 1
    assert sentence in error


def test_the_plan_of_a_suite_with_a_model_that_raises(suite, monkeypatch, tmp_path, capsys):
    (tmp_path / "my_model.py").write_text(MODEL.replace(RETURNS, "raise RuntimeError('too deep')"))
    monkeypatch.setenv("BENCH_MODEL", json.dumps({"model": "my_model.py"}))
    assert main(["check", "--suite", "grid"]) == 1
    assert "my_model.py: the forward pass of mine fails for 8x8x1 images (RuntimeError: too deep); fix" in (
        capsys.readouterr().err
    )
