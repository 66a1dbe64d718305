"""A commit vouches for code only where it holds the very files that run."""

from __future__ import annotations

import subprocess

import pytest

from bench.support import git


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A committed project; ``run`` runs git in it."""
    root = tmp_path / "it's a project"
    (root / "bench").mkdir(parents=True)
    for name in ("__init__.py", "code.py"):
        (root / "bench" / name).write_text("x = 1\n")

    def run(*words: str, folder=root) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True)

    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(git, "ROOT", root)
    run("init", "--quiet")
    run("add", ".")
    run("commit", "--quiet", "-m", "first")
    return root, run


def test_a_committed_project_is_clean(project):
    found = git.state()
    assert len(found["commit"]) == 40 and found["dirty"] is False
    assert git.holds(found["commit"]) and not git.holds("c0ffee" * 6)


def test_changed_new_and_hidden_files_are_not_in_the_commit(project):
    root, run = project
    (root / "README").write_text("not code")
    assert git.state()["dirty"] is False
    (root / "bench" / "code.py").write_text("x = 2\n")
    assert git.state()["dirty"] is True
    run("update-index", "--assume-unchanged", "bench/code.py")
    assert git.state()["dirty"] is True
    (root / "bench" / "code.py").write_text("x = 1\n")
    (root / ".gitignore").write_text("own.py\n")
    (root / "bench" / "own.py").write_text("y = 1\n")
    assert git.uncommitted([root / "bench" / "own.py", root / "bench" / "code.py"]) == [
        root / "bench" / "own.py"
    ]
    assert git.state()["dirty"] is True


def test_sources_unpacked_inside_another_repository_have_no_commit(project, monkeypatch):
    root, run = project
    inner = root / "unpacked"
    (inner / "bench").mkdir(parents=True)
    (inner / "bench" / "__init__.py").write_text("x = 1\n")
    monkeypatch.setattr(git, "ROOT", inner)
    assert git.state() == {
        "commit": None,
        "dirty": None,
        "reason": "the code lies inside another project's git repository",
    }
    run("add", ".")
    run("commit", "--quiet", "-m", "the copy is even committed there")
    assert git.state()["commit"] is None


def test_no_repository_and_a_variable_that_names_another(project, monkeypatch, tmp_path):
    root, run = project
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "bench").mkdir(parents=True)
    monkeypatch.setattr(git, "ROOT", elsewhere)
    monkeypatch.setenv("GIT_DIR", str(root / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(elsewhere))
    assert git.state()["reason"] == "the code is not in a git repository"
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_WORK_TREE")
    run("init", "--quiet", folder=elsewhere)
    assert git.state()["reason"] == "the git repository has no commit"


def test_a_file_outside_the_project_is_uncommitted(project, tmp_path):
    (tmp_path / "model.py").write_text("x = 1\n")
    assert git.uncommitted([tmp_path / "model.py"]) == [tmp_path / "model.py"]
