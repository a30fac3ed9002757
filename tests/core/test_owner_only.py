"""Folders and files of this user alone: who may write, what is refused, what is made closed to others."""

import os
import pwd
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.owner_only import make_folder, new_own_file, own_file, own_folder, state_dir, writers

STRANGER = 54_321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.rows(
    ("environ", "folder"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/me"}, "/state/scalpdesk"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/me"}, "/home/me/.local/state/scalpdesk"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/scalpdesk"),
    ],
)
def test_locks_and_armings_lie_in_the_users_own_state(environ, folder):
    assert state_dir(environ) == Path(folder)


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}])
def test_without_a_home_in_the_environment_the_system_knows_it(environ):
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert state_dir(environ) == home / ".local" / "state" / "scalpdesk"


@pytest.mark.parametrize("environ", [{"XDG_STATE_HOME": "state", "HOME": "/home/me"}, {"HOME": "me"}])
def test_a_folder_that_depends_on_where_a_command_starts_is_refused(environ):
    with pytest.raises(ConfigError) as refused:
        state_dir(environ)
    assert refused.value.where == "XDG_STATE_HOME"


@as_root
def test_without_any_home_the_setting_is_named():
    program = """
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.owner_only import state_dir
try:
    state_dir({})
except ConfigError as error:
    print(error.where)
"""
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=True, user=STRANGER, env={})
    assert done.stdout == "HOME\n"


def test_a_new_folder_and_all_above_it_are_closed_to_others(tmp_path):
    before = os.umask(0)
    try:
        own_folder(tmp_path / "a" / "b", "a test's folder")
    finally:
        os.umask(before)
    assert [mode_of(tmp_path / name) for name in ("a", "a/b")] == [0o700, 0o700]


@pytest.mark.rows("mode", [0o777, 0o757, 0o1777])
@pytest.mark.rows("place", ["", "held", "above"])
def test_what_everybody_can_write_is_refused_where_it_is(tmp_path, mode, place):
    """A folder with the sticky bit keeps what lies in it: above ours it is as good as closed."""
    above = tmp_path / "above"
    folder = above / "state"
    folder.mkdir(parents=True, mode=0o755)
    (folder / "held").mkdir()
    open_one = above if place == "above" else folder / place
    open_one.chmod(mode)
    if place == "above" and mode & stat.S_ISVTX:
        assert own_folder(folder, "a test's folder") == folder
        return
    with pytest.raises(ConfigError) as refused:
        own_folder(folder, "a test's folder", where="A_SETTING")
    assert (refused.value.where, refused.value.value) == ("A_SETTING", str(open_one))


def test_a_file_that_everybody_could_write_counts_only_where_they_reach_it(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    (folder / "held").touch()
    (folder / "held").chmod(0o666)
    assert own_folder(folder, "a test's folder") == folder
    folder.chmod(0o755)
    with pytest.raises(ConfigError):
        own_folder(folder, "a test's folder")


@as_root
@pytest.mark.rows("place", ["", "held", "above"])
def test_what_belongs_to_another_user_is_refused(tmp_path, place):
    above = tmp_path / "above"
    folder = above / "state"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "held").touch()
    foreign = above if place == "above" else folder / place
    os.chown(foreign, STRANGER, STRANGER)
    with pytest.raises(ConfigError) as refused:
        own_folder(folder, "a test's folder")
    assert refused.value.value == str(foreign)


@as_root
def test_a_link_is_followed_to_the_folder_that_is_used(tmp_path):
    foreign = tmp_path / "foreign"
    (foreign / "state").mkdir(parents=True)
    os.chown(foreign, STRANGER, STRANGER)
    (tmp_path / "link").symlink_to(foreign / "state")
    with pytest.raises(ConfigError) as refused:
        own_folder(tmp_path / "link", "a test's folder")
    assert refused.value.value == str(foreign)


def test_a_shared_group_may_write_and_is_a_stranger(tmp_path):
    tmp_path.chmod(0o770)
    shared = {group for group in os.getgroups() if group != os.getgid()} or {os.getgid()}
    if os.geteuid() == 0:
        shared = {STRANGER}
    os.chown(tmp_path, -1, min(shared))
    assert ("group", min(shared)) in writers(tmp_path)
    if min(shared) != os.getgid():
        with pytest.raises(ConfigError):
            own_folder(tmp_path, "a test's folder")


def test_files_are_made_and_closed_whatever_the_mask(tmp_path):
    before = os.umask(0)
    try:
        own_file(tmp_path / "new")
        (tmp_path / "old").touch(mode=0o666)
        own_file(tmp_path / "old")
        make_folder(tmp_path / "folder" / "in it")
        with new_own_file(tmp_path / "written"):
            (tmp_path / "written").write_text("x")
        (tmp_path / "shown").touch(mode=0o644)
        with new_own_file(tmp_path / "shown"):
            (tmp_path / "shown").write_text("x")
        with suppress(ZeroDivisionError), new_own_file(tmp_path / "failed"):
            1 / 0  # noqa: B018 - whatever goes wrong
    finally:
        os.umask(before)
    modes = {path.name: mode_of(path) for path in tmp_path.rglob("*")}
    assert modes == {
        "new": 0o600, "old": 0o600, "written": 0o600, "shown": 0o644, "folder": 0o700, "in it": 0o700
    }  # fmt: skip
