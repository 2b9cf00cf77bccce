import subprocess

import pytest
import torch

from callbacks.evaluation.versions import own_version, versions


def git(folder, *args):
    name = ["-c", "user.name=x", "-c", "user.email=x"]
    done = subprocess.run(["git", "-C", folder, *name, *args], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "saddle"\nversion = "1.2.3"\n')
    return tmp_path


def test_ours_is_among_them():
    assert versions()["torch"] == torch.__version__ and versions()["saddle"][0].isdigit()


def test_a_checkout_is_named_by_its_commit_and_whether_it_has_changes(checkout):
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "first")
    git(checkout, "tag", "v9")
    commit = git(checkout, "rev-parse", "--short", "HEAD")
    (checkout / "runs").mkdir()
    assert own_version(checkout) == f"1.2.3+g{commit}", "what a run writes is no change"
    (checkout / "pyproject.toml").write_text('[project]\nname = "saddle"\nversion = "1.2.4"\n')
    assert own_version(checkout) == f"1.2.4+g{commit}.dirty"


def test_without_git_or_a_whole_checkout_it_is_what_is_known(checkout, monkeypatch, tmp_path_factory):
    assert own_version(checkout) == "1.2.3"
    (checkout / ".git").mkdir()
    assert own_version(checkout) == "1.2.3", "no repository"
    monkeypatch.setenv("PATH", "")
    assert own_version(checkout) == "1.2.3", "no git"
    assert own_version(tmp_path_factory.mktemp("elsewhere")), "installed, or unknown"
