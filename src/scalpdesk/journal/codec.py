"""Payloads of the journal's records as MessagePack: events, outputs, the run's header and its seal.

Events and outputs are tagged arrays (see :mod:`scalpdesk.core.events`), encoded a batch at a time. Exact
amounts are stored as text, so ``Decimal("1.50")`` keeps its two decimals. An instrument is stored as a map
with the name of its class under ``class``.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b
from itertools import zip_longest
from typing import Any, get_args, get_type_hints

import msgspec

from scalpdesk.core.enums import OperatorAction, OperatorCause
from scalpdesk.core.errors import InvariantError, nearest_name
from scalpdesk.core.events import Event, OperatorEvent, QuoteEvent
from scalpdesk.core.intents import Decision, Output
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.sessions import Session

SCHEMA = 3
"""Version of all payloads; a reader refuses a newer one."""
_LONGEST = 80
"""Letters of a value in a difference."""

INSTRUMENT_CLASSES: dict[str, type[Instrument]] = {kind.__name__: kind for kind in get_args(Instrument)}


class JournalHeader(msgspec.Struct, frozen=True):
    """Description of a run: enough to rebuild its engine and to replay it."""

    schema: int
    """Version of the payloads (:data:`SCHEMA`)."""
    run_id: str
    strategy: str
    venue: str
    mode: str
    """``run_id``, ``strategy``, ``venue``, ``mode``: Names of the run; ``mode`` is ``backtest``, ``demo``,
    ``paper``, ``live`` and the like.
    """
    config: dict[str, Any]
    """The effective configuration, in JSON types (lists, no tuples; amounts as text)."""
    config_hash: str
    build: str
    """``config_hash``, ``build``: Hash of the configuration and version of the program."""
    instruments: tuple[Instrument, ...]
    """All instruments, in the order of their ids."""
    sessions: tuple[Session, ...]
    """The exchange sessions that the run covers."""
    data: dict[str, Any]
    """``name``, ``kind``, ``session``, ``underlying``, ``open``, ``high``, ``low``, ``close`` and ``notes``
    of the data set, in JSON types.
    """
    started_ns: int
    """Start of the run, UTC nanoseconds."""
    seed: int | None = None
    """Seed of the run's random generator, or None without one."""

    @property
    def is_backtest(self) -> bool:
        """Whether it played a market for itself: nothing is held at a venue, and it cannot be resumed."""
        return self.mode in {"backtest", "demo"}


class TapeRows(msgspec.Struct, frozen=True, array_like=True):
    """Quotes of a session's tape that came to be known, each an event, in place of a copy."""

    session: str
    """Its date, ``YYYY-MM-DD``."""
    first: int
    last: int
    """``first``, ``last``: The rows from ``first`` to before ``last``, in the order of events."""
    digest: str
    """Digest of all the session's rows, in hexadecimal digits."""
    quote: QuoteEvent
    """The last of them; outputs that follow are its own."""


class JournalTotals(msgspec.Struct, frozen=True):
    """Number of events, outputs and output records in a journal."""

    events: int = 0
    outputs: int = 0
    output_records: int = 0

    def plus(self, *, events: int = 0, outputs: int = 0) -> "JournalTotals":
        """Add the items of one record."""
        return JournalTotals(
            self.events + events, self.outputs + outputs, self.output_records + bool(outputs)
        )


class JournalSeal(msgspec.Struct, frozen=True):
    """Last record of a run that ended cleanly."""

    totals: JournalTotals
    summary: dict[str, Any] = {}
    """The run summary in JSON types; empty if the runner gave no summary."""


class DecisionHash:
    """BLAKE2b-128 over all outputs of a run in order; equal hashes mean equal decisions."""

    def __init__(self) -> None:
        self._hasher = blake2b(digest_size=16)

    def add(self, outputs: Sequence[Output]) -> None:
        """Add the outputs of one event; an event without outputs adds nothing."""
        if outputs:
            self._hasher.update(encode_outputs(outputs))

    def add_encoded(self, payload: bytes) -> None:
        """Add outputs encoded by :func:`encode_outputs`."""
        self._hasher.update(payload)

    def hex(self) -> str:
        """Return the hash of what was added so far, 32 hexadecimal digits."""
        return self._hasher.hexdigest()


def _plain_scalar(value: Any) -> Any:
    """Convert a NumPy scalar to a Python number, which MessagePack needs."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return item()
    raise TypeError(f"a {type(value).__name__} cannot be written to the journal")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_plain_scalar)
_STORED_HEADER = get_type_hints(JournalHeader) | {"instruments": tuple[dict[str, Any], ...]}
_HEADER = msgspec.msgpack.Decoder(
    msgspec.defstruct(
        "StoredHeader",
        [(name, kind, None) if name == "seed" else (name, kind) for name, kind in _STORED_HEADER.items()],
    )
)


class _EarlierOperatorEvent(msgspec.Struct, frozen=True, array_like=True, tag=51, gc=False):
    """An operator event of earlier versions, whose cause stood in its texts alone."""

    ts_event_ns: int
    ts_recv_ns: int
    action: OperatorAction
    reason: str
    who: str

    def typed(self) -> OperatorEvent:
        """Return the event with its cause; an unknown name counts as a person's."""
        named = self.who in (OperatorCause.DEADLINE, OperatorCause.VENUE, OperatorCause.RECONCILIATION)
        cause = OperatorCause(self.who) if named else OperatorCause.PERSON
        if self.reason in ("stop: hold", "stop: flatten"):
            cause = OperatorCause.STOP
        return OperatorEvent(self.ts_event_ns, self.ts_recv_ns, self.action, self.reason, self.who, cause)


_EVENTS = msgspec.msgpack.Decoder(list[Event | _EarlierOperatorEvent])
_EARLIER_OPERATOR = b"\x96\x33"
"""First bytes of an operator event of earlier versions in MessagePack: an array of six, then the tag."""


def decode_events(payload: bytes) -> list[Event]:
    """Decode a batch of events; raises ``msgspec.MsgspecError`` for other bytes, as those below."""
    events: list[Any] = _EVENTS.decode(payload)
    if _EARLIER_OPERATOR in payload:
        return [each.typed() if type(each) is _EarlierOperatorEvent else each for each in events]
    return events


decode_outputs = msgspec.msgpack.Decoder(tuple[Output, ...]).decode
"""Decode the outputs of one event."""
decode_rows = msgspec.msgpack.Decoder(TapeRows).decode
"""Decode rows of a tape."""
decode_seal = msgspec.msgpack.Decoder(JournalSeal).decode
"""Decode the seal."""


def _encode(value: Any, what: str) -> bytes:
    try:
        return _ENCODER.encode(value)
    except (TypeError, OverflowError, ValueError, UnicodeError) as error:
        raise InvariantError(
            f"the journal cannot hold {what}: {error}",
            where=what,
            fix="use text, numbers, Decimal, dates, lists and maps only",
        ) from error


def encode_events(events: Sequence[Event]) -> bytes:
    """Encode a batch of events, in order."""
    return _encode(events, "events")


def encode_event(event: Event) -> bytes:
    """Encode one event; :func:`joined` makes a batch of several."""
    return encode_events((event,))[1:]  # without the head of a list of one


def joined(payloads: Sequence[bytes]) -> bytes:
    """Return encoded events as :func:`encode_events` encodes them together."""
    count = len(payloads)
    head = bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return head + b"".join(payloads)


def encode_outputs(outputs: Sequence[Output]) -> bytes:
    """Encode the outputs of one event."""
    return _encode(outputs, "outputs")


def same_outputs(journaled: Sequence[Output], produced: Sequence[Output]) -> bool:
    """Return whether a replay produced, byte for byte, the outputs that were read from a journal.

    ``==`` does not do: NaN differs from itself, and ``Decimal("1.0")`` equals ``Decimal("1.00")``. An
    integer in a float field counts as the float that it is decoded to.
    """
    expected = encode_outputs(journaled)
    got = encode_outputs(produced)
    return got == expected or encode_outputs(decode_outputs(got)) == expected


def first_difference(journaled: Sequence[Output], produced: Sequence[Output]) -> str:
    """Return in one line what differs first between an event's outputs in a journal and in this program."""
    for number, (old, new) in enumerate(zip_longest(journaled, produced), start=1):
        if old is None or new is None:
            side = "here alone" if old is None else "in the journal alone"
            return f"output {number}, {_name(old or new)}: {side}"
        if type(old) is not type(new):
            return f"output {number}: {_name(old)} in the journal, {_name(new)} here"
        if not same_outputs([old], [new]):
            field, *values = _field(old, decode_outputs(encode_outputs([new]))[0])
            was, now = map(_short, values)
            return f"output {number}, {_name(old)}, {field}: {was} in the journal, {now} here"
    return "none"


def _name(output: Output | None) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(output).__name__).lower()
    return f"{words} ({output.kind})" if isinstance(output, Decision) else words


def _field(old: Any, new: Any) -> tuple[str, Any, Any]:
    """Return the first field, and of facts the first key, in which two outputs of a type differ."""
    for name in old.__struct_fields__:
        was, now = getattr(old, name), getattr(new, name)
        if repr(was) == repr(now):
            continue
        if isinstance(was, dict):
            key = next(key for key in (*was, *now) if repr(was.get(key)) != repr(now.get(key)))
            return f"{name} {key}", was.get(key), now.get(key)
        return name, was, now
    return "form", old, new


def _short(value: Any) -> str:
    text = " ".join(" · ".join(map(str, value)).split()) if isinstance(value, tuple) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def encode_rows(rows: TapeRows) -> bytes:
    """Encode rows of a tape."""
    return _encode(rows, "rows")


def encode_seal(seal: JournalSeal) -> bytes:
    """Encode the seal."""
    return _encode(seal, "summary")


def instrument_to_map(instrument: Instrument) -> dict[str, Any]:
    """Convert an instrument to JSON types with the name of its class."""
    fields: dict[str, Any] = msgspec.to_builtins(instrument)
    return {"class": type(instrument).__name__, **fields}


def instrument_from_map(fields: dict[str, Any]) -> Instrument:
    """Convert a map of :func:`instrument_to_map` to the instrument.

    Raises msgspec.ValidationError when the class is unknown or a field is not valid.
    """
    rest = dict(fields)
    if "tick_rule" in rest:
        rest["tick_rule"] = _rule_map(rest["tick_rule"])
    name = rest.pop("class", None)
    kind = INSTRUMENT_CLASSES.get(name) if isinstance(name, str) else None
    if kind is None:
        near = nearest_name(str(name), INSTRUMENT_CLASSES)
        raise msgspec.ValidationError(f"unknown class of instrument {name!r}; nearest is {near}")
    return msgspec.convert(rest, type=kind)


def _rule_map(stored: Any) -> Any:
    """Return the map of a tick rule; up to schema 2 its one step stood in ``above`` and ``threshold``."""
    if not isinstance(stored, dict) or "threshold" not in stored:
        return stored
    step = {"above_price": stored["threshold"], "tick": stored["above"]}
    return {"below": stored["below"], "steps": [step] if stored["above"] != stored["below"] else []}


def encode_header(header: JournalHeader) -> bytes:
    """Encode the run's header."""
    instruments = [instrument_to_map(instrument) for instrument in header.instruments]
    return _encode({**msgspec.structs.asdict(header), "instruments": instruments}, "header")


def decode_header(payload: bytes) -> JournalHeader:
    """Decode the run's header; raises ``msgspec.MsgspecError`` for other bytes."""
    fields = msgspec.structs.asdict(_HEADER.decode(payload))
    instruments = tuple(instrument_from_map(stored) for stored in fields.pop("instruments"))
    return JournalHeader(**fields, instruments=instruments)
