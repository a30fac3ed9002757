"""Laws of the journal: what goes in comes out, a cut keeps a prefix, a flip never goes unseen."""

import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.enums import DecisionKind, OperatorAction, OperatorCause
from scalpdesk.core.errors import JournalError
from scalpdesk.core.events import (
    AccountSnapshot,
    HeldPosition,
    OperatorEvent,
    OrderFilled,
    QuoteEvent,
    RateEvent,
    TimerEvent,
)
from scalpdesk.core.intents import CancelOrder, Decision, SetTimer
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity
from scalpdesk.instruments.sessions import Session
from scalpdesk.journal.codec import encode_events, encode_header, encode_outputs
from scalpdesk.journal.frames import FRAME_BYTES, SEGMENT_BYTES
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader
from scalpdesk_testing.kit.journaled_run import journal_header

HEADER = journal_header(
    [Equity("SPY"), us_option("SPY180205C00270000")], sessions=(Session(date(2018, 2, 5), 1, 2),)
)
FIRST_EVENT = SEGMENT_BYTES + FRAME_BYTES + len(encode_header(HEADER))

stamps = st.integers(min_value=0, max_value=2**62)
texts = st.text(max_size=20)
exacts = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9)
ids = st.integers(min_value=0, max_value=10_000).map(InstrumentId)
prices = st.floats(allow_nan=True, allow_infinity=True)
events = st.one_of(
    st.builds(QuoteEvent, ids, stamps, stamps, prices, prices, prices, prices),
    st.builds(OrderFilled, texts, stamps, stamps, texts, exacts, exacts, exacts),
    st.builds(RateEvent, stamps, stamps, st.tuples(prices), st.tuples(prices)),
    st.builds(
        AccountSnapshot, stamps, stamps, exacts, st.tuples(st.builds(HeldPosition, ids, exacts, exacts))
    ),
    st.builds(TimerEvent, stamps, stamps, texts),
    st.builds(
        OperatorEvent,
        stamps,
        stamps,
        st.sampled_from(OperatorAction),
        texts,
        texts,
        st.sampled_from(OperatorCause),
    ),
)
facts = st.dictionaries(texts, st.one_of(texts, st.integers(-(2**60), 2**60), prices), max_size=3)
outputs = st.lists(
    st.one_of(
        st.builds(CancelOrder, texts),
        st.builds(SetTimer, texts, stamps),
        st.builds(Decision, stamps, st.sampled_from(DecisionKind), st.booleans(), st.tuples(texts), facts),
    ),
    max_size=3,
).map(tuple)
streams = st.lists(st.tuples(events, outputs), min_size=1, max_size=12)
small_streams = st.lists(st.tuples(events, outputs), min_size=1, max_size=4)


def record(run_dir: Path, stream, **options) -> None:
    writer = JournalWriter.create(run_dir, HEADER, durability="none", **options)
    for event, caused in stream:
        writer.add_event(event)
        writer.add_outputs(caused)
    writer.abandon()


def flat(pairs):
    """One entry for each event, one for each output, as bytes: NaN compares."""
    seen = []
    for happened, caused in pairs:
        seen += [encode_events([event]) for event in happened]
        seen += [encode_outputs([output]) for output in caused]
    return seen


def flat_stream(stream):
    return flat(([event], caused) for event, caused in stream)


@settings(max_examples=60, deadline=None)
@given(stream=streams, limit=st.sampled_from([100, 1000, 1 << 26]))
def test_what_goes_in_comes_out_in_order(stream, limit):
    with tempfile.TemporaryDirectory() as folder:
        record(Path(folder), stream, segment_limit_bytes=limit)
        reader = JournalReader(Path(folder))
        assert flat(reader.steps()) == flat_stream(stream)
        assert reader.recovered is None
        assert reader.totals.events == len(stream)
        assert reader.header == HEADER


@settings(max_examples=60, deadline=None)
@given(stream=small_streams, data=st.data())
def test_a_cut_anywhere_keeps_a_true_prefix_that_can_be_continued(stream, data):
    with tempfile.TemporaryDirectory() as folder:
        record(Path(folder), stream)
        path = Path(folder) / "journal-000001.sdj"
        whole = path.read_bytes()
        cut = data.draw(st.integers(FIRST_EVENT, len(whole)))
        path.write_bytes(whole[:cut])
        reader = JournalReader(Path(folder))
        kept = flat(reader.steps())
        assert flat_stream(stream)[: len(kept)] == kept
        dropped = 0 if reader.recovered is None else reader.recovered.dropped_bytes
        assert reader.end.position + dropped == cut
        with JournalWriter.reopen(Path(folder), started_ns=2, durability="none") as writer:
            writer.add_event(TimerEvent(1, 1, "again"))
        assert flat(JournalReader(Path(folder)).steps()) == [
            *kept,
            encode_events([TimerEvent(1, 1, "again")]),
        ]


@pytest.mark.second
@settings(max_examples=100, deadline=None)
@given(stream=small_streams, data=st.data())
def test_a_flipped_byte_never_changes_what_is_read(stream, data):
    with tempfile.TemporaryDirectory() as folder:
        record(Path(folder), stream)
        path = Path(folder) / "journal-000001.sdj"
        spoiled = bytearray(path.read_bytes())
        position = data.draw(st.integers(0, len(spoiled) - 1))
        spoiled[position] ^= data.draw(st.integers(1, 255))
        path.write_bytes(spoiled)
        try:
            reader = JournalReader(Path(folder))
        except JournalError as refused:
            named = int(refused.where.rsplit("byte ", 1)[1])
        else:
            # Only a last record with a whole sector of zeros in it reads like a torn write.
            named = reader.recovered.position
            kept = flat(reader.steps())
            assert flat_stream(stream)[: len(kept)] == kept
        assert named <= position


@given(amount=exacts, values=facts)
def test_exact_amounts_and_facts_keep_their_digits(amount, values):
    filled = OrderFilled("a", 1, 1, "x", Decimal(1), amount, Decimal(0))
    decision = Decision(1, DecisionKind.ENTRY, True, (), values)
    with tempfile.TemporaryDirectory() as folder:
        record(Path(folder), [(filled, (decision,))])
        ((happened, caused),) = JournalReader(Path(folder)).steps()
    assert str(happened[0].price) == str(amount)
    assert encode_outputs(caused) == encode_outputs((decision,))
