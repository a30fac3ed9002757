"""A desk decides the same whether anybody looks on: else no journal can be replayed, and no run resumes."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.positions import Position
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import at, model_price, quote
from scalpdesk_testing.kit.valuation import learn

NOON = at("12:00")
SECOND = 10**9
SHARE, CALL, PUT = 0, 1, 2
QUESTIONS: dict[str, Callable[[DeltaEngine, int, int], object]] = {
    "state": DeltaEngine.state,
    "strike": lambda engine, leg, now_ns: getattr(engine.state(leg, now_ns), "strike_vol", None),
    "smile": DeltaEngine.smile,
    "skew": DeltaEngine.skew,
    "mark": lambda engine, leg, _now_ns: engine.mark(leg),
    "forward": DeltaEngine.knows_forward,
    "greeks": lambda engine, leg, now_ns: engine.greeks_at(leg, now_ns, 0.3),
    "book": lambda engine, leg, now_ns: engine.position_greeks(
        [Position(leg, engine._instruments[leg], Decimal(1))], now_ns
    ),
}
LEARNT: dict[str, Callable[[DeltaEngine, int, int], object]] = {
    "follow": lambda engine, leg, now_ns: engine.follow([leg], now_ns),
    "held": lambda engine, leg, now_ns: learn(engine, now_ns, leg),
    "skewed": lambda engine, leg, now_ns: engine.follow([leg], now_ns, smile=True),
}


class Quoted(NamedTuple):
    """A quote, so long after the last step (ns), at a move of the spot and with these sides."""

    number: int
    later_ns: int = 0
    move: float = 0.0
    sides: str = "both"


class Learnt(NamedTuple):
    """The desk learns from a leg's quotes."""

    how: str
    leg: int


class Asked(NamedTuple):
    """Somebody asks about a leg: the desk in an event, or an onlooker between two."""

    question: str
    leg: int
    is_desk: bool


STEPS = st.lists(
    st.one_of(
        st.builds(
            Quoted,
            st.sampled_from((SHARE, CALL, PUT)),
            st.sampled_from((0, 0, 1, 2 * SECOND, 90 * SECOND)),
            st.sampled_from((0.0, 0.4, -3.0, 6.0)),
            st.sampled_from(("both", "both", "bid", "ask")),
        ),
        st.builds(Learnt, st.sampled_from(sorted(LEARNT)), st.sampled_from((CALL, PUT))),
        st.builds(Asked, st.sampled_from(sorted(QUESTIONS)), st.sampled_from((CALL, PUT)), st.booleans()),
    ),
    min_size=4,
    max_size=30,
)


def answers(steps: list[Quoted | Asked | Learnt], *, is_watched: bool) -> list[object]:
    """Return what the desk is answered."""
    book, now_ns, spot = straddle_book(), NOON, 500.0
    state = MarketState(book)
    engine = DeltaEngine(book, state, ContractPricer())
    found: list[object] = []
    for step in (Quoted(SHARE), Quoted(CALL), Quoted(PUT), *steps):
        if isinstance(step, Quoted):
            now_ns += step.later_ns
            spot += step.move if step.number == SHARE else 0.0
            mid = spot if step.number == SHARE else model_price(book[step.number], spot, 0.2, now_ns)
            bid = math.nan if step.sides == "ask" else mid - 0.01
            ask = math.nan if step.sides == "bid" else mid + 0.01
            state.apply_quote(quote(step.number, now_ns, bid, ask))
        elif isinstance(step, Learnt):
            answer = LEARNT[step.how](engine, step.leg, now_ns)
            found.append(repr(answer))
        elif step.is_desk or is_watched:
            answer = QUESTIONS[step.question](engine, step.leg, now_ns)
            if step.is_desk:
                greeks = getattr(answer, "greeks", None)
                found.append((answer.vol, answer.mark, *greeks) if greeks is not None else repr(answer))
    return found


@settings(max_examples=100)
@given(STEPS)
@example(  # the share's quote of the option's own instant comes after it, and an onlooker asks in between
    [
        Quoted(CALL, 2 * SECOND),
        Learnt("held", CALL),
        Quoted(SHARE, 0, 6.0),
        Asked("state", CALL, is_desk=False),
        Quoted(SHARE, 2 * SECOND, -3.0),
        Quoted(CALL, 1, sides="bid"),
        Asked("state", CALL, is_desk=True),
    ]
)
def test_what_the_desk_is_answered_does_not_depend_on_who_else_asks(steps):
    assert answers(steps, is_watched=True) == answers(steps, is_watched=False)
