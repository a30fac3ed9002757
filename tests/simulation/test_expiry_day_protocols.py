"""An expiry day with a pin at served exchanges: a structure at the strike is carried through the close.

Bytes of the vendor's protocol lie between desk and exchange, and all time is virtual; a day in coin is played
by both programs.
"""

from collections import Counter
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import PositionChanged, QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.entry.shapes import StructureConfig, shape_named
from scalpdesk.exchange.market import MarketOptions
from scalpdesk.instruments.deadlines import ExpiryRule
from scalpdesk.instruments.sessions import Session, next_session
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.sessions import StopMode
from scalpdesk.simulation.hours import TapeHours
from scalpdesk_testing.alpaca_trial import AlpacaTrial
from scalpdesk_testing.kit.live_session import Wanted, play
from scalpdesk_testing.market import CALL, PUT, SHARE, SmallMarket
from scalpdesk_testing.schedule import Moment, quiet_schedule
from scalpdesk_testing.small_desk import SMALL_PLAN
from scalpdesk_testing.tws_trial import TwsTrial

pytestmark = pytest.mark.slow
D = Decimal
DAY = date(2018, 3, 5)
EVENING_SECONDS, MORNING_SECONDS = 600, 60
PLACES = {"alpaca": AlpacaTrial, "ibkr": TwsTrial}
STRIKE = 500
ENDS = ChangeCause.CASH_SETTLEMENT, ChangeCause.EXPIRED_WORTHLESS


class PinMarket(SmallMarket):
    """The last minutes of the expiry day, the share standing where it closes, and the first of the next."""

    def __init__(self, shape: str, close: float) -> None:
        super().__init__(1, DAY, seconds=EVENING_SECONDS, expires_after_days=0, shape=shape)
        self.following = next_session(DAY)
        self.hours = TapeHours((self.session, self.following))
        evening = range(self.session.open_ns, self.session.close_ns, 2 * NANOS_PER_SECOND)
        morning_ns = self.following.open_ns
        morning = range(morning_ns, morning_ns + MORNING_SECONDS * NANOS_PER_SECOND, 2 * NANOS_PER_SECOND)
        self._quotes = []
        for at_ns in (*evening, *morning):
            if at_ns in evening and (at_ns - evening.start) % (8 * NANOS_PER_SECOND) == 0:
                self._quotes += [self._option_quote(number, close, at_ns) for number in self.options]
            bid, ask = round(close - 0.01, 2), round(close + 0.01, 2)
            self._quotes.append(QuoteEvent(SHARE, at_ns, at_ns, bid, ask, 900.0, 900.0))


@dataclass(frozen=True)
class Day:
    """The structure held over the day, the close of the share, and the rule."""

    venue: str
    shape: str = "straddle"
    side: str = "short"
    close: float = STRIKE
    rule: ExpiryRule = ExpiryRule.LET_GO
    seed: int = 1
    moments: tuple[Moment, ...] = ()
    dies_at_notice: bool = False


def played(folder: Path, day: Day) -> AlpacaTrial:
    """Carry a structure through its expiry to the next morning; return the trial, which is over."""

    class ExpiryTrial(PLACES[day.venue]):
        OPTIONS = RunnerOptions(
            reconcile_seconds=300.0,
            tick_seconds=2.0,
            sessions=2,
            resolve_seconds=1.0,
            flush_seconds=2.0,
            at_expiry=day.rule,
        )

        @property
        def _length(self) -> float:
            end_ns = self.market.following.open_ns + MORNING_SECONDS * NANOS_PER_SECOND
            return (end_ns - self.market.start_ns) / NANOS_PER_SECOND

        def market_options(self) -> MarketOptions:
            return MarketOptions(seed=day.seed, after_close_move=0.003)

        def _sent(self, method: str, path: str, body: bytes) -> None:
            super()._sent(method, path, body)
            if path.endswith("do-not-exercise") or path == "/21":
                notices.append(self.loop.time())
                if day.dies_at_notice and len(notices) == 1:
                    self.loop.call_soon(self.mishaps.strike, Moment(self.loop.time(), "kill"))

    notices: list[float] = []
    given = {"body": "0", "wing": "6"}
    placed = {at.value: given[at] for at in shape_named(day.shape).places}
    config = msgspec.structs.replace(
        SMALL_PLAN.config,
        structure=StructureConfig(shape=day.shape, side=day.side, **placed),
        selection=msgspec.structs.replace(SMALL_PLAN.config.selection, min_expiration_days=0),
        exits=msgspec.structs.replace(SMALL_PLAN.config.exits, flat_minutes_before_close=None),
    )
    limits = msgspec.structs.replace(SMALL_PLAN.limits, max_short_contracts=2, max_option_contracts=2)
    is_sold = day.side == "short"
    schedule = quiet_schedule(
        day.seed, moments=day.moments, heal_at=1e6, holds=True, is_sold=is_sold, shape=day.shape
    )
    market = PinMarket(day.shape, day.close)
    trial = ExpiryTrial(
        schedule, folder, plan=changed(SMALL_PLAN, config=config, limits=limits), market=market
    )
    trial.notices = notices
    # the delta of the last minutes turns with a cent
    trial.scene.excused.add(6)
    trial.scene.has_fair_quotes = False
    trial.scene.session = Session(DAY, market.session.open_ns, market.following.close_ns)
    before_open = (market.following.open_ns - market.start_ns) / NANOS_PER_SECOND - 60.0
    trial.loop.call_at(before_open, look, trial)
    trial.loop.call_at(trial._length - 5.0, lambda: trial.mishaps.runner.stop(StopMode.HOLD))
    trial.outcome = trial.run()
    return trial


def held(account, numbers):
    """Return what is held, by number."""
    return {number: account.quantity(number) for number in numbers if account.quantity(number)}


def look(trial):
    """Keep what both sides hold, and their cash, a minute before the next opening."""
    desk, account = trial.engine.desk, trial.account
    trial.morning = [
        (held(book, trial.numbers), cash)
        for book, cash in ((desk.positions, desk.account.cash), (account, account.cash))
    ]


def causes(trial):
    """Return how many units of what moved by which cause, as the desk's journal has it."""
    found = Counter()
    for events, _ in JournalReader(trial.journal.run_dir).steps():
        for event in events:
            if isinstance(event, PositionChanged) and event.quantity_change:
                found[event.cause] += int(event.quantity_change)
    return found


@pytest.mark.parametrize("venue", PLACES)
@pytest.mark.parametrize(("shape", "seed"), [("straddle", 1), ("straddle", 2), ("iron_fly", 1)])
def test_a_short_structure_at_its_strike_is_assigned_as_its_holders_decide_after_the_close(
    tmp_path, venue, shape, seed
):
    trial = played(tmp_path, Day(venue, shape, seed=seed))
    assert trial.outcome.violations == []
    ours, theirs = trial.morning
    assert ours == theirs
    # the share closes at both strikes and moves after that: one of the two is assigned, and one is not
    assert [abs(units) for units in theirs[0].values()] == [200]
    assert set(theirs[0]) == {SHARE}
    assert theirs[1] == 1_000_000 - STRIKE * theirs[0][SHARE]
    moved = causes(trial)
    assert moved[ChangeCause.ASSIGNMENT] == 2
    assert abs(moved[ChangeCause.DELIVERY]) == 200
    wings = 4 if shape == "iron_fly" else 0
    assert len(trial.notices) == wings // 2  # of what is owned alone its owner decides


@pytest.mark.parametrize("venue", PLACES)
@pytest.mark.parametrize(("rule", "shares"), [(ExpiryRule.LET_GO, 0), (ExpiryRule.EXERCISE, 200)])
def test_what_was_bought_ends_by_the_rule(tmp_path, venue, rule, shares):
    trial = played(tmp_path, Day(venue, side="long", close=STRIKE + 0.6, rule=rule))
    # at its strike in its last minutes a straddle has no delta that the judge of decisions (18) could hold
    broken = [each for each in trial.outcome.violations if not each.invariant.startswith("18 ")]
    assert broken == []
    ours, theirs = trial.morning
    assert ours == theirs
    assert causes(trial)[ChangeCause.DELIVERY] == shares
    assert set(theirs[0]) == {SHARE}  # the hedge, and what was delivered
    told = {CALL: 2, PUT: 2} if rule is ExpiryRule.LET_GO else {}
    assert len(trial.notices) == len(told)
    assert trial.engine.desk.lapsing == told


@pytest.mark.parametrize("venue", PLACES)
@pytest.mark.parametrize(
    ("moments", "dies_at_notice", "given"),
    [
        ((Moment(420.0, "kill"),), False, 2),  # after both: the next life gives no notice again
        ((), True, 4),  # with both on their way: what has no answer is given again
        ((Moment(420.0, "kill"), Moment(40_000.0, "kill")), False, 2),  # and once more in the night
    ],
)
def test_a_desk_that_is_killed_gives_the_notices_that_it_has_not_given(
    tmp_path, venue, moments, dies_at_notice, given
):
    day = Day(venue, side="long", close=STRIKE + 0.6, moments=moments, dies_at_notice=dies_at_notice)
    trial = played(tmp_path, day)
    assert trial.outcome.lives == 1 + len(moments) + dies_at_notice
    ours, theirs = trial.morning
    assert ours == theirs
    assert causes(trial)[ChangeCause.DELIVERY] == 0
    assert set(theirs[0]) == {SHARE}
    assert len(trial.notices) == given
    assert trial.engine.desk.lapsing == {CALL: 2, PUT: 2}


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_short_straddle_in_coin_is_settled_in_cash_and_leaves_its_hedge(tmp_path):
    settings = (
        "structure.side=short", "selection.min_expiration_days=0", "selection.max_expiration_days=1",
        "selection.min_open_interest=-1", "entry.gate=advise", "entry.forecast_vol=0.2", "entry.orders=auto",
        "entry.max_straddle_delta=99", "entry.not_before=23:00", "entry.not_after=23:30",
        "exits.edge_gone=false", "exits.credit_multiple=none", "exits.stop_fraction=none",
        "exits.arm_fraction=none", "exits.credit_fraction=none", "exits.minutes_before_expiry=0",
        "hedge.threshold_shares=0.02", "desk.at_expiry=let_go", "risk.max_short_contracts=30",
        "venue.forecast=false", "venue.requests_per_minute=1000000", "venue.reconcile_seconds=0.5",
        "venue.confirm_seconds=0.1",
    )  # fmt: skip
    day = play(
        tmp_path,
        Wanted(
            day=date(2025, 3, 5),
            venue="deribit",
            data="embedded-btc",
            cash=D(20),
            streams=2,
            underlyings=("BTC-PERPETUAL",),
            config=Path(__file__).parents[2] / "examples/btc-gamma-scalper/params.yaml",
            overrides=settings,
        ),
    )
    assert day.desk_positions() == day.truth_positions()
    assert not any(symbol.endswith(("-C", "-P")) for symbol in day.truth_positions())
    assert day.desk_cash() == day.truth_cash()
    ends = {
        day.symbols[event.instrument_id][-1]: event
        for event in day.events
        if isinstance(event, PositionChanged) and event.cause in ENDS
    }
    call, put = ends["C"], ends["P"]  # the mean of the last half hour lies above the strike
    assert (put.cause, put.quantity_change, put.cash_change) == (ChangeCause.EXPIRED_WORTHLESS, 1, 0)
    assert (call.cause, call.quantity_change) == (ChangeCause.CASH_SETTLEMENT, 1)
    strike = D(day.symbols[call.instrument_id].split("-")[2])
    mean = strike / (1 - call.price)  # paid in coin: (mean - strike) / mean
    assert call.cash_change == -((mean - strike) / mean).quantize(D("1e-8"))
    assert 0 < mean - strike < D("0.01") * strike
