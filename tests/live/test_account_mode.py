"""Commands to a desk that starts: held by its locks, not by the number of its process."""

import os
import resource
from multiprocessing import get_context

import pytest

from scalpdesk.core.enums import Mode, OperatorAction
from scalpdesk.core.errors import StopError
from scalpdesk.core.mode import AccountMode, ModeEntry
from scalpdesk.live.account_mode import AskedWhileStarting, ModeRecord, WaitingCommand
from scalpdesk.live.arming import marked_as_running, marked_as_starting

HALT = WaitingCommand(OperatorAction.HALT, "news", "me", 5)
FREE = WaitingCommand(OperatorAction.RESUME, "seen", "me", 6)


def asked_of(folder, account="one"):
    return [command.action for command in AskedWhileStarting(folder).read(account)]


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


def test_a_number_that_another_program_has_now_hides_no_command(state):
    AskedWhileStarting(state).ask(os.getppid(), HALT)  # it lives, and is no desk
    assert asked_of(state) == ["halt"]


def hold(mark, state, runs, is_held, ends):
    with mark(state, runs):
        is_held.set()
        ends.wait()


@pytest.mark.parametrize("mark", [marked_as_starting, marked_as_running])
def test_a_command_to_another_desk_that_lives_is_left_to_it(state, mark):
    context = get_context("fork")
    is_held, ends = context.Event(), context.Event()
    other = context.Process(target=hold, args=(mark, state, state / "runs", is_held, ends))
    other.start()
    is_held.wait()
    AskedWhileStarting(state).ask(other.pid, HALT)
    try:
        assert asked_of(state) == []
    finally:
        ends.set()
        other.join()
    assert asked_of(state) == ["halt"]


def test_what_a_dead_desk_was_told_holds_for_every_account_once(state):
    """Whose account it would have had is not known: the first start took it from the one that was meant."""
    AskedWhileStarting(state).ask(2**22 + 1, HALT)
    for account in ("one", "two"):
        taken = AskedWhileStarting(state)
        assert taken.read(account) == [HALT]
        taken.forget(account)
        assert asked_of(state, account) == []
    assert asked_of(state, "") == []  # an account that ends with its run was never meant


def test_a_release_that_a_dead_desk_was_told_frees_no_other_account(state):
    dead = 2**22 + 1
    AskedWhileStarting(state).ask(dead, FREE)
    assert asked_of(state) == []
    AskedWhileStarting(state).ask(dead, HALT)
    assert asked_of(state) == ["halt"]
    AskedWhileStarting(state).ask(dead, FREE)  # halted and set free: nothing is left of it
    assert asked_of(state) == []


@pytest.mark.rows(
    ("mode", "since_ns", "command", "is_overtaken"),
    [
        (Mode.ACTIVE, 0, HALT, False),
        (Mode.ACTIVE, 9, HALT, True),
        (Mode.REDUCING, 9, HALT, False),
        (Mode.HALTED, 9, FREE, True),
        (Mode.HALTED, 3, FREE, False),
    ],
)
def test_a_later_word_on_the_account_counts(mode, since_ns, command, is_overtaken):
    assert command.is_overtaken(AccountMode(ModeEntry(mode, "", "me", since_ns))) is is_overtaken


def test_a_disk_that_takes_a_part_of_a_record_leaves_the_one_before(state):
    record = ModeRecord(state / "one.mode.json")
    record.write(AccountMode())
    before, (least, most) = record.path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, most))
    try:
        with pytest.raises(StopError, match="cannot be kept on disk"):
            record.write(AccountMode(ModeEntry(Mode.HALTED, "news")))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (least, most))
    assert record.path.read_bytes() == before
