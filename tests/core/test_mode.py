"""The mode machine, with a disk that keeps the account's part of it and a run that ends in every way."""

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scalpdesk.core.enums import STRICTNESS, Mode, OperatorAction, OperatorCause
from scalpdesk.core.mode import AccountMode, DeskMode, ModeEntry
from scalpdesk.live.account_mode import ModeKeeper, ModeRecord, WaitingCommand, state_text

COMMANDS = st.sampled_from(list(OperatorAction))
FINDINGS = st.sampled_from(
    [(Mode.REDUCING, OperatorCause.RECONCILIATION), (Mode.HALTED, OperatorCause.VENUE)]
)


def strictness(mode):
    return STRICTNESS.index(mode)


class Account(RuleBasedStateMachine):
    """An account whose mode is kept by hand, beside the desk and its record."""

    def __init__(self):
        super().__init__()
        self.folder = TemporaryDirectory()
        self.record = ModeRecord(Path(self.folder.name) / "account.mode.json", "run-0")
        self.runs = itertools.count(1)
        self.days = itertools.count(2)
        self.day = "1"
        self.own = Mode.ACTIVE
        self.passes_on: str | None = None
        self.begin(AccountMode())

    def begin(self, state):
        self.desk = DeskMode()
        self.desk.keep(state)
        self.keeper = ModeKeeper(self.record, lambda *_: None)
        self.keeper.keep(state)
        self.journaled = state

    def follow(self, state):
        self.desk.keep(state)
        self.keeper.keep(self.desk.state)

    def now(self, who="ann"):
        return ModeEntry(reason="why", who=who, since_ns=7)

    @rule(action=COMMANDS)
    def a_person_commands(self, action):
        self.follow(self.desk.state.commanded(action.mode, OperatorCause.PERSON, self.now(), self.day))
        self.own, self.passes_on = action.mode, None

    @rule(action=COMMANDS)
    def a_command_waits_for_the_start_and_the_desk_dies(self, action):
        self.keeper.waiting.append(WaitingCommand(action, "why", "ann", 7))
        self.keeper.keep(self.desk.state)
        self.own, self.passes_on = action.mode, None
        self.restarts(resumes=True)

    @rule(found=FINDINGS)
    def something_is_found(self, found):
        mode, cause = found
        self.follow(self.desk.state.commanded(mode, cause, self.now("desk"), self.day))
        self.own = max(self.own, mode, key=strictness)

    @precondition(lambda self: self.desk.mode in (Mode.ACTIVE, Mode.REDUCING))
    @rule(at_deadline=st.booleans())
    def a_loss_or_a_deadline_flattens(self, at_deadline):
        state = self.desk.state.passing_to(
            Mode.FLATTENING, self.now("desk"), self.day, until_next_run=at_deadline
        )
        self.follow(state)
        self.passes_on = "run" if at_deadline else self.day

    @rule()
    def a_later_session_opens(self):
        self.day = str(next(self.days))
        self.follow(self.desk.state.opened(self.day))
        if self.passes_on != "run":
            self.passes_on = None

    @rule(mode=st.sampled_from([Mode.HALTED, Mode.FLATTENING]))
    def the_run_stops(self, mode):
        self.desk.stop_with(mode)

    @rule(resumes=st.booleans(), loses_the_journals_end=st.booleans())
    def the_process_ends_and_starts_again(self, resumes, loses_the_journals_end):
        if not loses_the_journals_end:
            self.journaled = self.desk.state
        self.restarts(resumes=resumes)

    def restarts(self, *, resumes):
        if not resumes:
            self.record = ModeRecord(self.record.path, f"run-{next(self.runs)}")
            if self.passes_on == "run":
                self.passes_on = self.day
        self.begin(self.record.for_start(self.journaled if resumes else None))

    @invariant()
    def nothing_is_freer_than_it_was_left(self):
        state = self.desk.state
        assert state.account.mode is self.own
        assert state.mode is max(self.own, self.passing, key=strictness)
        assert strictness(self.desk.mode) >= strictness(self.desk.stop or state.mode)
        recorded = self.record.read()
        assert recorded is None or recorded.state == state

    @property
    def passing(self):
        return Mode.ACTIVE if self.passes_on is None else Mode.FLATTENING

    def teardown(self):
        self.folder.cleanup()


Account.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAccount = Account.TestCase


@pytest.mark.rows("stop", [Mode.HALTED, Mode.FLATTENING])
@pytest.mark.rows("left", list(Mode))
def test_a_stop_is_forgotten_and_the_mode_before_it_is_not(stop, left):
    desk = DeskMode()
    desk.keep(AccountMode(ModeEntry(left)))
    desk.stop_with(stop)
    assert (desk.mode, desk.kept) == (stop, left)
    desk.stop_with(None)
    assert desk.mode is left


def test_a_difference_found_while_options_expire_outlasts_the_nights_roll():
    """The morning's run began ACTIVE: the flattening for the expiry hid what was found in it."""
    now = ModeEntry(reason="why", who="desk", since_ns=7)
    state = AccountMode().commanded(Mode.FLATTENING, OperatorCause.DEADLINE, now, "2018-02-05")
    assert state.is_free
    state = state.commanded(Mode.REDUCING, OperatorCause.RECONCILIATION, now, "2018-02-05")
    assert (state.is_free, state.mode) == (False, Mode.FLATTENING)
    assert state.for_new_run().opened("2018-02-06").mode is Mode.REDUCING


@pytest.mark.rows(
    ("own", "passes", "needs_a_person"),
    [
        (Mode.HALTED, False, True),
        (Mode.REDUCING, True, True),
        (Mode.ACTIVE, True, False),
    ],
)
def test_the_command_that_frees_an_account_is_told_only_where_it_takes_one(own, passes, needs_a_person):
    now = ModeEntry(reason="why", who="desk", since_ns=7)
    state = AccountMode(ModeEntry(own))
    if passes:
        state = state.passing_to(Mode.FLATTENING, now, "2018-02-05")
    assert ("scalpdesk resume" in state_text(state)) is needs_a_person
    assert state_text(AccountMode()) == ""
