"""Real money is armed by a person, for one account and one configuration; one desk holds an account."""

import asyncio
import os
import stat
from pathlib import Path

import msgspec
import pytest

from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError, StopError
from scalpdesk.live.arming import (
    SUFFIX,
    AccountLock,
    DeskHolder,
    account_file,
    arm,
    armed,
    disarm,
    live_account,
    marked_as_starting,
    place_of,
    starting_desks,
    token_for,
)
from scalpdesk.venues.contract import LiveToken, NoSettings, VenueSpec
from scalpdesk_testing.kit.live import KEYS
from scalpdesk_testing.kit.packages import install_points
from tests.live.venue_views import account_facts

HASH = "0123456789abcdef"
TOKEN = LiveToken("A-1", HASH, 1, "me")
HOLDER = DeskHolder(4_321, "run r1", "/runs", 1_709_564_400_000_000_000)


ASKED = []


async def ask(setup, _settings):
    ASKED.append(setup.keys)
    return account_facts(5)


async def ask_in_euro(_setup, _settings):
    return msgspec.structs.replace(account_facts(5), currency="EUR")


TOY = VenueSpec(name="toy", build=lambda *_: None, settings=NoSettings)
EURO = VenueSpec(name="euro", build=lambda *_: None, settings=NoSettings, live_account=ask_in_euro)
REAL = VenueSpec(name="real", build=lambda *_: None, settings=NoSettings, live_account=ask)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.rows(("account", "name"), [("A-1_b", "A-1_b"), ("../../x", "______x"), ("a b/c", "a_b_c")])
def test_an_accounts_file_lies_in_the_folder_whatever_its_id_is(tmp_path, account, name):
    assert account_file(tmp_path, "alpaca", account, ".lock") == tmp_path / f"alpaca-{name}.lock"


# the mark of a desk that starts ----------------------------------------


def test_a_desk_that_starts_is_found_in_its_own_folder_of_runs_until_it_is_up(tmp_path):
    state, runs = tmp_path / "state", tmp_path / "runs"
    (tmp_path / "state").mkdir()
    (state / "starting-1.lock").write_bytes(b"{}")  # of a desk that was killed as it started
    files = open_files()
    with marked_as_starting(state, runs):
        (found,) = starting_desks(state)
        assert (found.pid, found.run_dir) == (os.getpid(), str(runs))
        assert (found.started_in, found.place) == (str(Path.cwd()), place_of(Path.cwd()))
        assert [mode_of(path) for path in state.iterdir()] == [0o600]
    assert starting_desks(state) == []
    assert list(state.iterdir()) == []
    assert open_files() == files
    assert not runs.exists()


def test_a_mark_that_cannot_be_written_keeps_no_desk_from_starting(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with marked_as_starting(tmp_path / "file", tmp_path):
        assert starting_desks(tmp_path / "file") == []


# the lock of an account ----------------------------------------


def test_an_account_is_held_by_one_desk_which_is_named_to_the_second_one(tmp_path):
    folder = tmp_path / "state"
    lock = AccountLock(folder, "alpaca", "A-1", HOLDER)
    assert (mode_of(folder), mode_of(lock.path)) == (0o700, 0o600)
    files = open_files()
    with pytest.raises(StopError, match="another desk trades this account; nothing was sent") as refused:
        AccountLock(folder, "alpaca", "A-1", HOLDER)
    assert refused.value.where == "alpaca account A-1"
    assert refused.value.value == "process 4321, run r1 in /runs, since 2024-03-04 10:00:00 ET"
    assert open_files() == files  # the one that was refused keeps nothing open
    AccountLock(folder, "alpaca", "A-2", HOLDER).release()
    lock.release()
    lock.release()
    again = AccountLock(folder, "alpaca", "A-1", msgspec.structs.replace(HOLDER, pid=1, run_dir="/"))
    assert (
        msgspec.json.decode(again.path.read_bytes(), type=DeskHolder).pid == 1
    )  # nothing of the longer text
    again.release()
    assert again.path.exists()


def test_a_watchdog_that_acts_is_named_with_what_to_wait_for(tmp_path):
    acting = msgspec.structs.replace(HOLDER, watchdog_log="/runs/watchdog.log")
    lock = AccountLock(tmp_path, "alpaca", "A-1", acting)
    with pytest.raises(StopError, match="the watchdog of a desk that ended is still acting") as refused:
        AccountLock(tmp_path, "alpaca", "A-1", HOLDER)
    assert refused.value.value == "process 4321, run r1 in /runs, since 2024-03-04 10:00:00 ET"
    assert "wait until it is through: /runs/watchdog.log says what it does" in refused.value.fix
    lock.release()
    AccountLock(tmp_path, "alpaca", "A-1", HOLDER).release()


def test_a_desk_that_has_not_yet_written_its_name_is_just_starting(tmp_path):
    lock = AccountLock(tmp_path, "alpaca", "A-1", HOLDER)
    lock.path.write_bytes(b"")
    with pytest.raises(StopError) as refused:
        AccountLock(tmp_path, "alpaca", "A-1", HOLDER)
    assert refused.value.value == "a desk that is just starting"
    lock.release()


# arming ----------------------------------------


@pytest.mark.rows(
    ("account", "typed", "is_armed"),
    [
        ("A-1", HASH[:8], True),
        (" A-1\n", f" {HASH[:8].upper()} ", True),
        ("A-1", HASH, True),
        ("A-1", HASH[:7], False),
        ("A-1", "", False),
        ("A-1", HASH[1:9], False),
        ("A-1", f"{HASH}0", False),
        ("A-2", HASH[:8], False),
        ("", HASH[:8], False),
    ],
)
def test_account_and_configuration_are_typed_back_as_shown(tmp_path, account, typed, is_armed):
    folder = tmp_path / "state"
    if not is_armed:
        with pytest.raises(ConfigError, match="what was typed is not") as refused:
            arm(folder, "alpaca", TOKEN, typed_account=account, typed_hash=typed)
        assert (refused.value.where, folder.exists()) == ("arm", False)
        return
    path = arm(folder, "alpaca", TOKEN, typed_account=account, typed_hash=typed)
    assert path == folder / "alpaca-A-1.armed.json"
    assert (mode_of(folder), mode_of(path)) == (0o700, 0o600)
    assert armed(folder, "alpaca") == [TOKEN]
    assert token_for(folder, "alpaca", HASH) == TOKEN


def test_armed_again_the_file_is_its_owners_alone_and_holds_the_new_token(tmp_path):
    path = account_file(tmp_path, "alpaca", "A-1", SUFFIX)
    path.write_text("x" * 500)
    path.chmod(0o666)
    files = open_files()
    arm(tmp_path, "alpaca", TOKEN, typed_account="A-1", typed_hash=HASH)
    assert (mode_of(path), armed(tmp_path, "alpaca")) == (0o600, [TOKEN])
    assert open_files() == files


def armed_in(folder, *tokens, venue="alpaca"):
    for token in tokens:
        arm(folder, venue, token, typed_account=token.account_id, typed_hash=token.config_hash)


OTHER = LiveToken("B-2", "fedcba9876543210", 2, "you")


def test_an_arming_is_found_by_its_configuration_and_a_lapsed_one_is_named(tmp_path):
    with pytest.raises(ConfigError, match="live trading is not armed; nothing was sent") as refused:
        token_for(tmp_path, "alpaca", HASH)
    assert refused.value.where == "--live"
    armed_in(tmp_path, OTHER, TOKEN)
    armed_in(tmp_path, LiveToken("C-3", "c" * 16, 3, "me"), venue="deribit")
    assert armed(tmp_path, "alpaca") == [TOKEN, OTHER]
    assert token_for(tmp_path, "alpaca", HASH) == TOKEN
    assert token_for(tmp_path, "alpaca", OTHER.config_hash) == OTHER
    assert (
        token_for(tmp_path, "alpaca", "d" * 16, OTHER.config_hash) == OTHER
    )  # as an earlier version hashed it
    with pytest.raises(ConfigError, match="armed for another configuration") as refused:
        token_for(tmp_path, "alpaca", "c" * 16)
    error = refused.value
    assert (error.where, error.value, error.nearest) == ("configuration hash", "c" * 8, "01234567, fedcba98")


@pytest.mark.rows("mode", [0o601, 0o602, 0o604, 0o610, 0o620, 0o640, 0o666])
def test_an_arming_that_others_may_read_or_write_is_refused(tmp_path, mode):
    armed_in(tmp_path, TOKEN)
    (path,) = tmp_path.iterdir()
    path.chmod(mode)
    with pytest.raises(ConfigError, match="the arming can be read or written by others") as refused:
        armed(tmp_path, "alpaca")
    assert (refused.value.where, refused.value.value) == (str(path), f"mode {mode:o}")


def test_a_partial_file_arms_nothing_and_hides_no_other(tmp_path):
    armed_in(tmp_path, TOKEN, OTHER)
    path = account_file(tmp_path, "alpaca", "A-1", SUFFIX)
    path.write_bytes(b'{"account_id"')
    assert armed(tmp_path, "alpaca") == [OTHER]


@pytest.mark.rows(
    ("account", "gone", "left"),
    [("A-1", ["A-1"], [OTHER]), ("X", [], [TOKEN, OTHER]), (None, ["A-1", "B-2"], [])],
)
def test_one_account_or_all_of_a_venue_are_disarmed(tmp_path, account, gone, left):
    armed_in(tmp_path, TOKEN, OTHER)
    armed_in(tmp_path, TOKEN, venue="deribit")
    assert disarm(tmp_path, "alpaca", account) == gone
    assert armed(tmp_path, "alpaca") == left
    assert armed(tmp_path, "deribit") == [TOKEN]
    assert disarm(tmp_path, "alpaca", account) == []


@pytest.mark.rows(
    ("venue", "environ", "paper", "what"),
    [
        ("toy", KEYS, False, "no real money to arm"),
        ("real", {}, False, "needs the live account's key and secret"),
        ("real", KEYS, True, "the configuration is one for paper"),
        ("euro", KEYS, False, "EUR"),
        ("real", KEYS, False, None),
    ],
)
def test_the_live_account_is_asked_for_with_the_configured_keys(
    tmp_path, monkeypatch, venue, environ, paper, what
):
    points = {name: f"{__name__}:{name.upper()}" for name in ("real", "toy", "euro")}
    install_points(tmp_path, "venues", {"scalpdesk.venues": points})
    monkeypatch.syspath_prepend(tmp_path)
    ASKED.clear()
    overrides = [f"desk.paper={str(paper).lower()}"]
    settings = load_settings("gamma-scalper", overrides=overrides, environ=environ, cwd=tmp_path)
    if what is None:
        assert asyncio.run(live_account(settings, venue)) == account_facts(5)
        ((first, second),) = ASKED
        assert {first.reveal(), second.reveal()} == set(KEYS.values())
    else:
        with pytest.raises(ConfigError, match=what):
            asyncio.run(live_account(settings, venue))
        assert ASKED == []


def test_an_arming_is_on_disk_when_the_operator_is_told_so(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    arm(tmp_path, "alpaca", TOKEN, typed_account="A-1", typed_hash=HASH)
    file, _folder = synced
    assert file == len(msgspec.json.encode(TOKEN))
