"""What the journal's records hold: events, outputs, the run's header and its seal, as MessagePack.

Events and outputs are tagged arrays (see :mod:`scalpdesk.core.events`) and go in and out whole, a
batch in one call. Exact amounts travel as text, so ``Decimal("1.50")`` comes back with its two
decimals. Instruments are dataclasses of several classes; each is stored as a map with the name of
its class under ``class``.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from scalpdesk.core.errors import InvariantError, nearest_name
from scalpdesk.core.events import Event
from scalpdesk.core.intents import Output
from scalpdesk.instruments.contract import Equity, Future, Index, Instrument, OptionContract, Perpetual
from scalpdesk.instruments.sessions import Session

SCHEMA = 1
"""Version of all payloads; a reader refuses a newer one."""

INSTRUMENT_CLASSES: dict[str, type[Equity | Index | Future | Perpetual | OptionContract]] = {
    kind.__name__: kind for kind in (Equity, Index, Future, Perpetual, OptionContract)
}


class JournalHeader(msgspec.Struct, frozen=True):
    """What a run is: enough to rebuild its engine and to replay it.

    Parameters
    ----------
    schema
        Version of the payloads (:data:`SCHEMA`).
    run_id, strategy, venue, mode
        Names of the run; ``mode`` is ``backtest``, ``demo``, ``paper``, ``live`` and the like.
    config
        The effective configuration, in JSON types (lists, no tuples; amounts as text).
    config_hash, build
        Hash of the configuration and the version of the program that ran.
    instruments
        All instruments, in the order of their numbers.
    sessions
        The exchange sessions that the run covers.
    data
        ``name``, ``kind``, ``session``, ``underlying``, ``open``, ``high``, ``low``, ``close`` and
        ``notes`` of the data set, in JSON types.
    started_ns
        When the run began, in UTC nanoseconds.
    seed
        Seed of the run's random generator, or None when it draws nothing.
    """

    schema: int
    run_id: str
    strategy: str
    venue: str
    mode: str
    config: dict[str, Any]
    config_hash: str
    build: str
    instruments: tuple[Instrument, ...]
    sessions: tuple[Session, ...]
    data: dict[str, Any]
    started_ns: int
    seed: int | None = None


class _StoredHeader(msgspec.Struct, frozen=True):
    """The header as it lies in the file: instruments as maps."""

    schema: int
    run_id: str
    strategy: str
    venue: str
    mode: str
    config: dict[str, Any]
    config_hash: str
    build: str
    instruments: tuple[dict[str, Any], ...]
    sessions: tuple[Session, ...]
    data: dict[str, Any]
    started_ns: int
    seed: int | None = None


class JournalTotals(msgspec.Struct, frozen=True):
    """What a journal holds in all."""

    events: int = 0
    outputs: int = 0
    output_records: int = 0


class JournalSeal(msgspec.Struct, frozen=True):
    """The last record of a run that ended cleanly.

    Parameters
    ----------
    totals
        What the journal holds.
    summary
        The run summary as it was shown, in JSON types; empty when the runner gave none.
    """

    totals: JournalTotals
    summary: dict[str, Any] = {}


class DecisionHash:
    """BLAKE2b-128 over all outputs of a run, in order: equal when every decision is equal."""

    def __init__(self) -> None:
        self._hasher = blake2b(digest_size=16)

    def add(self, outputs: Sequence[Output]) -> None:
        """Add the outputs of one event; an event without outputs adds nothing."""
        if outputs:
            self._hasher.update(encode_outputs(outputs))

    def add_encoded(self, payload: bytes) -> None:
        """Add outputs that :func:`encode_outputs` has turned into bytes."""
        self._hasher.update(payload)

    def hex(self) -> str:
        """Return the hash of what was added so far, 32 hexadecimal digits."""
        return self._hasher.hexdigest()


def plain_scalar(value: Any) -> Any:
    """Turn a NumPy scalar into the Python number it holds; MessagePack knows no other."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return item()
    raise TypeError(f"a {type(value).__name__} cannot be written to the journal")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=plain_scalar)
_EVENTS = msgspec.msgpack.Decoder(list[Event])
_OUTPUTS = msgspec.msgpack.Decoder(tuple[Output, ...])
_SEAL = msgspec.msgpack.Decoder(JournalSeal)
_HEADER = msgspec.msgpack.Decoder(_StoredHeader)


def _encode(value: Any, what: str) -> bytes:
    try:
        return _ENCODER.encode(value)
    except (TypeError, OverflowError, ValueError, UnicodeError) as error:
        raise InvariantError(
            f"the journal cannot hold {what}: {error}",
            where=what,
            fix="events, outputs and headers carry text, numbers, Decimal, dates, lists and maps only",
        ) from error


def encode_events(events: Sequence[Event]) -> bytes:
    """Encode a batch of events, in order."""
    return _encode(events, "events")


def decode_events(payload: bytes) -> list[Event]:
    """Decode a batch of events.

    Raises
    ------
    msgspec.MsgspecError
        When the bytes are no batch of events.
    """
    return _EVENTS.decode(payload)


def encode_outputs(outputs: Sequence[Output]) -> bytes:
    """Encode the outputs of one event."""
    return _encode(outputs, "outputs")


def decode_outputs(payload: bytes) -> tuple[Output, ...]:
    """Decode the outputs of one event.

    Raises
    ------
    msgspec.MsgspecError
        When the bytes are no outputs.
    """
    return _OUTPUTS.decode(payload)


def same_outputs(journaled: Sequence[Output], produced: Sequence[Output]) -> bool:
    """Return whether a replay produced, byte for byte, the outputs that were read from a journal.

    ``==`` is not the test: a NaN in a mark differs from itself, and ``Decimal("1.0")`` equals
    ``Decimal("1.00")``. A whole number in a float field is the float it is read back as.
    """
    expected = encode_outputs(journaled)
    got = encode_outputs(produced)
    return got == expected or encode_outputs(decode_outputs(got)) == expected


def encode_seal(seal: JournalSeal) -> bytes:
    """Encode the seal."""
    return _encode(seal, "summary")


def decode_seal(payload: bytes) -> JournalSeal:
    """Decode the seal.

    Raises
    ------
    msgspec.MsgspecError
        When the bytes are no seal.
    """
    return _SEAL.decode(payload)


def instrument_to_map(instrument: Instrument) -> dict[str, Any]:
    """Turn an instrument into plain JSON types with the name of its class."""
    fields: dict[str, Any] = msgspec.to_builtins(instrument)
    return {"class": type(instrument).__name__, **fields}


def instrument_from_map(fields: dict[str, Any]) -> Instrument:
    """Build the instrument that :func:`instrument_to_map` described.

    Raises
    ------
    msgspec.ValidationError
        When the class is unknown or a field does not fit.
    """
    rest = dict(fields)
    name = rest.pop("class", None)
    kind = INSTRUMENT_CLASSES.get(name) if isinstance(name, str) else None
    if kind is None:
        near = nearest_name(str(name), INSTRUMENT_CLASSES)
        raise msgspec.ValidationError(f"unknown class of instrument {name!r}; nearest is {near}")
    return msgspec.convert(rest, type=kind)


def encode_header(header: JournalHeader) -> bytes:
    """Encode the run's header."""
    described = [instrument_to_map(instrument) for instrument in header.instruments]
    return _encode({**msgspec.structs.asdict(header), "instruments": described}, "header")


def decode_header(payload: bytes) -> JournalHeader:
    """Decode the run's header.

    Raises
    ------
    msgspec.MsgspecError
        When the bytes are no header.
    """
    stored = _HEADER.decode(payload)
    fields = msgspec.structs.asdict(stored)
    fields["instruments"] = tuple(instrument_from_map(each) for each in stored.instruments)
    return JournalHeader(**fields)
