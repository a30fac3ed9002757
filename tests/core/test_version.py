"""The commit in a version: of a wheel, of a checkout in each of git's forms, of neither."""

import subprocess

import pytest

from scalpdesk.core.version import COMMIT_FILE, VERSION, build_of

COMMIT = "1a2b3c4d" + 32 * "0"


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "src" / "scalpdesk"
    (folder / "core").mkdir(parents=True)
    return folder


def git(where, *words):
    env = {"GIT_CONFIG_GLOBAL": "/dev/null", "PATH": "/usr/bin:/bin", "HOME": str(where)}
    who = ("-c", "user.name=me", "-c", "user.email=me@localhost")
    return subprocess.check_output(["git", *who, *words], cwd=where, env=env, text=True).strip()


def test_a_wheel_names_the_commit_that_it_was_built_from(package):
    (package / "core" / COMMIT_FILE).write_text(f"{COMMIT}\n")
    assert build_of(package) == f"{VERSION}+g1a2b3c4d"


def test_a_copy_without_a_repository_names_its_version(package):
    assert build_of(package) == VERSION


def test_a_checkout_names_its_head_on_a_branch_packed_detached_and_in_a_worktree(package, tmp_path):
    git(tmp_path, "init", "-q", "-b", "a/branch")
    assert build_of(package) == VERSION  # nothing is committed
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    named = f"{VERSION}+g{git(tmp_path, 'rev-parse', 'HEAD')[:8]}"
    assert build_of(package) == named
    git(tmp_path, "pack-refs", "--all")
    assert build_of(package) == named
    git(tmp_path, "worktree", "add", "-q", "-b", "other", "beside")
    (tmp_path / "beside" / "src" / "scalpdesk" / "core").mkdir(parents=True)
    assert build_of(tmp_path / "beside" / "src" / "scalpdesk") == named
    git(tmp_path, "checkout", "-q", "--detach")
    assert build_of(package) == named
