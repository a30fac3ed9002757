"""One number of one message of a venue is impossible once, and the line is clean after it.

It is refused by its name, asked for another way, and the true number is booked; what the venue says twice is
booked as it is. The exchange's own ledger tells what is true.
"""

import json
import struct
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scalpdesk_testing.campaign import trial_of
from scalpdesk_testing.schedule import quiet_schedule
from scalpdesk_testing.small_desk import scratch_folder
from scalpdesk_testing.trial import Trial

D = Decimal
HUGE, MINUS_HUGE, TIMES_100 = 2**31 - 1, -(2**31 - 1), "x100"
Change = Callable[[bytes], bytes | None]
"""Returns a message with another number in it; None for one that it does not concern."""


def other(text: str, value: object) -> str:
    """Return another number in place of one."""
    factors = {TIMES_100: D(100), "/100": D("0.01"), "x2": D(2), "minus": D(-1)}
    return str(D(text) * factors[value]) if value in factors else str(value)


def tables(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a message."""
    if isinstance(tree, dict):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from tables(part)


def in_json(name: str, concerns: Callable[[dict[str, Any]], bool], value: object, *, as_text: bool) -> Change:
    """Change a field of the first object that ``concerns`` names."""

    def change(data: bytes) -> bytes | None:
        try:
            tree = json.loads(data)
        except ValueError:
            return None
        found = next((each for each in tables(tree) if concerns(each)), None)
        if found is None:
            return None
        text = other(str(found[name]), value)
        found[name] = text if as_text or text in ("NaN", "abc") else float(text)
        return json.dumps(tree).encode()

    return change


def in_frame(kind: bytes, place: int, value: object, concerns: Callable[[list[bytes]], bool]) -> Change:
    """Change a field of a frame of TWS."""

    def change(data: bytes) -> bytes | None:
        fields = data[4:].split(b"\0")
        if fields[0] != kind or not concerns(fields):
            return None
        fields[place] = other(fields[place].decode(), value).encode()
        body = b"\0".join(fields)
        return struct.pack(">I", len(body)) + body

    return change


def is_share(symbol: str) -> bool:
    """Return whether a symbol of the small market is the share's."""
    return symbol == "SPY"


def alpaca(field: str, value: object, *, share: bool = True) -> Change:
    """Change a number of Alpaca's message on a fill."""

    def concerns(each: dict[str, Any]) -> bool:
        return each.get("event") in ("fill", "partial_fill") and is_share(each["order"]["symbol"]) == share

    return in_json(field, concerns, value, as_text=True)


def deribit(field: str, value: object, *, share: bool = True) -> Change:
    """Change a number of a trade on Deribit's channel of the account."""
    return in_json(
        field,
        lambda each: "trade_id" in each and is_share(each["instrument_name"]) == share,
        value,
        as_text=False,
    )


def tws(field: str, value: object, *, share: bool = True) -> Change:
    """Change a number of TWS's message on an execution, or of the report of its commission."""
    if field == "commission":
        return in_frame(b"59", 3, value, lambda fields: fields[3] != b"0")
    place = {"price": 20, "quantity": 19}[field]
    return in_frame(b"11", place, value, lambda fields: (fields[5] == b"STK") == share)


CHANGES = {"alpaca": alpaca, "deribit": deribit, "tws": tws}


class Played:
    """A quiet day of a desk with a straddle and hedges."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.desk = trial.engine.desk
        self.outcome = trial.outcome

    def told(self, *words: str) -> list[float]:
        """Return when the desk told a person of something that has all these words."""
        return [at for at, _, text in self.outcome.says if all(word in text for word in words)]

    def assert_books_are_the_venues(self) -> None:
        """Every position and the cash are those of the exchange's ledger, and no order is in doubt."""
        trial, desk = self.trial, self.desk
        assert desk.account.cash == trial.account.cash
        for number in trial.numbers:
            assert desk.positions.quantity(number) == trial.account.quantity(number)
        assert not desk.orders.live


def play(
    protocol: str, change: Change | None = None, *at: tuple[float, Callable[[Trial], None]], **plan: Any
):
    """Play the day; the first message that ``change`` concerns comes changed, and ``at`` things happen."""
    with scratch_folder() as folder:
        trial = trial_of(protocol)(quiet_schedule(0, has_fees=True, **plan), Path(folder))
        done = []

        def coming(data: bytes) -> bytes:
            changed = None if done or change is None else change(data)
            if changed is None:
                return data
            done.append(changed)
            return changed

        trial.line.on_coming = coming
        for seconds, act in at:
            trial.loop.call_at(seconds, act, trial)
        trial.run()
        assert done or change is None
        return Played(trial)


@pytest.mark.parametrize(
    ("protocol", "field", "value", "is_option"),
    [
        ("alpaca", "price", HUGE, False),
        ("alpaca", "price", TIMES_100, True),
        ("alpaca", "qty", TIMES_100, False),
        ("tws", "commission", HUGE, False),
        ("tws", "commission", TIMES_100, False),
        ("tws", "commission", MINUS_HUGE, False),
        ("tws", "price", HUGE, False),
        ("tws", "price", TIMES_100, True),
        ("tws", "quantity", 2_000_000, False),
        ("tws", "quantity", HUGE, True),
        ("tws", "quantity", MINUS_HUGE, False),
        ("deribit", "price", HUGE, False),
        ("deribit", "price", TIMES_100, True),
        ("deribit", "fee", HUGE, True),
        ("deribit", "fee", TIMES_100, True),
        ("deribit", "amount", "x2", True),
        # our own
        ("alpaca", "price", "/100", False),  # dollars that were meant as cents
        ("alpaca", "qty", 0, False),
        ("alpaca", "qty", "minus", True),
        ("alpaca", "price", "500", True),  # the strike
        ("alpaca", "price", 0, False),
        ("tws", "commission", "minus", False),
        ("tws", "quantity", "x2", False),
        ("tws", "price", 0, True),
        ("deribit", "price", "500", True),
        ("deribit", "amount", 0, True),
    ],
)
def test_a_number_that_does_not_fit_its_order_is_refused_by_name_and_the_true_one_booked(
    protocol, field, value, is_option
):
    played = play(protocol, CHANGES[protocol](field, value, share=not is_option))
    played.assert_books_are_the_venues()
    assert played.outcome.violations == []
    assert len(played.outcome.edges) > 3
    named = {"qty": "quantity", "amount": "quantity", "commission": "fee"}.get(field, field)
    assert played.told("implausible_number", f" {named} ", "t0-00000", "expected")
    assert not played.told("nothing explains it")


def test_a_quantity_below_the_true_one_is_put_right_once_two_answers_state_it():
    played = play("tws", tws("quantity", 1))
    played.assert_books_are_the_venues()
    assert played.told("8 at 499.35", "1 at 499.35")


class Hedge:
    """The first hedge of the day, whose price the venue corrects to and fro."""

    def __init__(self, factor: str) -> None:
        self._factor = D(factor)
        self._first: Any = None
        self._stands: Any = None

    def make_odd(self, trial: Trial) -> None:
        """Correct its price to a multiple of it."""
        self._first = next(each for each in trial.account.executions if each.quantity == 8)
        self._correct(trial, self._first, (self._first.price * self._factor).quantize(D("0.01")))
        self._stands = trial.account.executions[-1]

    def put_right(self, trial: Trial) -> None:
        """Correct it back."""
        self._correct(trial, self._stands, self._first.price)

    @staticmethod
    def _correct(trial: Trial, execution: Any, price: Decimal) -> None:
        trial.world.broker.staged.correct(execution, price)
        trial.world.settle()
        trial.line.drive()


def pnl(found: list[Decimal]) -> Callable[[Trial], None]:
    """Note the day's result."""
    return lambda trial: found.append(trial.engine.desk.view.nav - trial.engine.desk.session_equity)


def act_on(name: str) -> Callable[[Trial], None]:
    """Let a person operate the desk."""
    return lambda trial: trial.mishaps.operate(name, "the price is corrected")


@pytest.mark.parametrize("protocol", ["alpaca", "tws"])
@pytest.mark.parametrize(("factor", "change"), [("100", -395_485.20), ("0.01", 3_954.88)])
def test_an_odd_price_that_the_venue_says_twice_is_booked_and_its_correction_undoes_it(
    protocol, factor, change
):
    found, hedge = list[Decimal](), Hedge(factor)
    moments = ((44.0, pnl(found)), (45.0, hedge.make_odd), (48.0, pnl(found)))
    later = ((80.0, hedge.put_right), (84.0, pnl(found)), (100.0, act_on("resume")))
    played = play(protocol, None, *moments, *later, max_loss=5_000)
    before, odd, after = found
    assert float(odd - before) == pytest.approx(change, abs=30.0)
    assert float(after - before) == pytest.approx(0.0, abs=30.0)
    played.assert_books_are_the_venues()
    assert played.told("odd_number_confirmed", "price")
    is_lost = change < -5_000  # the loss closed the book, and once it is gone a resumption holds
    assert bool(played.told("FLATTENING to ACTIVE")) == is_lost
    assert len([text for _, _, text in played.outcome.says if "FLATTENING" in text]) == is_lost


def test_a_false_profit_hides_no_loss_once_it_is_corrected():
    marks = list[str]()

    def note(trial: Trial) -> None:
        marks.append(trial.engine.desk.gate.mode.value)

    def lose(trial: Trial) -> None:
        trial.account.cash -= 2_000
        trial.world.ledger.note(trial.account, "FEE", "", D(0), D(0), D(-2_000))

    hedge = Hedge("0.01")
    moments = ((45.0, hedge.make_odd), (50.0, lose), (76.0, note), (80.0, hedge.put_right), (84.0, note))
    played = play("alpaca", None, *moments, max_loss=1_000)
    assert marks == ["ACTIVE", "FLATTENING"]
    assert abs(played.desk.account.cash - played.trial.account.cash) < 1
