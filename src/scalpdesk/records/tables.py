"""The journal as tables. Every row but notes can be dropped and made again from the journal alone.

Amounts and quantities are exact: text in SQLite (``CAST(x AS REAL)`` to compute with them there),
``NUMERIC`` in PostgreSQL. Instants are UTC nanoseconds in ``BIGINT``. A number that is not finite
is NULL in a column and text (``nan``, ``inf``, ``-inf``) inside a JSON document.
"""

from datetime import date, datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args, get_origin

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    Float,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    String,
    Table,
    Text,
    func,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from scalpdesk.core.intents import Mark
from scalpdesk.report.fold import Fill, SentOrder
from scalpdesk.report.trades import Trade


class _ExactAmount(TypeDecorator[Decimal]):
    """A ``Decimal`` that comes back as it went in: text in SQLite, ``NUMERIC`` in PostgreSQL."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type of the database at hand."""
        exact: TypeEngine[Any] = Numeric() if dialect.name == "postgresql" else Text()
        return dialect.type_descriptor(exact)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Turn the amount into what the database stores."""
        return value if value is None or dialect.name == "postgresql" else str(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Decimal | None:
        """Turn what the database stores into the amount."""
        _ = dialect
        return value if value is None or isinstance(value, Decimal) else Decimal(value)


class Base(DeclarativeBase):
    """All tables of the store."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        Decimal: _ExactAmount,
        str: Text,
        int: BigInteger,
        float: Double,
        dict[str, Any]: JSON,
        list[Any]: JSON,
    }

    def as_dict(self) -> dict[str, Any]:
        """Return the row as a map from column to value."""
        return {str(column.key): getattr(self, column.key) for column in self.__table__.columns}


class RunRow(Base):
    """One run: the columns of the run summary, and where its figures came from."""

    __tablename__ = "runs"

    run_id: Mapped[str] = mapped_column(primary_key=True)
    strategy: Mapped[str]
    venue: Mapped[str]
    mode: Mapped[str]
    build: Mapped[str]
    config_hash: Mapped[str]
    seed: Mapped[int | None]
    started_ns: Mapped[int]
    data_name: Mapped[str | None]
    data_kind: Mapped[str | None]
    session: Mapped[str | None]
    underlying: Mapped[str | None]
    open: Mapped[Decimal | None]
    high: Mapped[Decimal | None]
    low: Mapped[Decimal | None]
    close: Mapped[Decimal | None]
    first_event_ns: Mapped[int | None]
    last_event_ns: Mapped[int | None]
    events: Mapped[int]
    decisions: Mapped[int]
    orders: Mapped[int]
    fills: Mapped[int]
    """Executions of the desk's own orders that stand: not busted, each counted once."""
    hedges: Mapped[int]
    """Hedge decisions that were taken."""
    nav_change: Mapped[Decimal]
    pnl_delta: Mapped[Decimal]
    pnl_gamma: Mapped[Decimal]
    pnl_theta: Mapped[Decimal]
    pnl_vega: Mapped[Decimal]
    pnl_higher_order: Mapped[Decimal]
    pnl_carry: Mapped[Decimal]
    pnl_spread: Mapped[Decimal]
    pnl_fees: Mapped[Decimal]
    pnl_slippage: Mapped[Decimal]
    pnl_residual: Mapped[Decimal]
    pnl_basis: Mapped[Decimal]
    """Of a desk that hedges with another instrument than the underlying; else 0."""
    end_positions: Mapped[dict[str, Any]]
    """Signed quantity by symbol, as text; what is flat is left out."""
    decision_hash: Mapped[str]
    sealed: Mapped[bool]
    """Whether the run was closed cleanly."""
    recovered: Mapped[str | None]
    """Part cut off the journal's end on recovery, if any."""
    journal_digest: Mapped[str]
    """Digest of the journal's last record: the rows stand for exactly this journal. Empty once the tables
    have changed: the rows are made again."""
    config: Mapped[dict[str, Any]]
    data: Mapped[dict[str, Any]]
    summary: Mapped[dict[str, Any]]
    """The run summary as it was shown (with the wall time); of a run that goes on
    the ``performance`` of its sessions so far, of a backtest that was cut short ``verdict`` and ``cut``."""

    __table_args__ = (Index("ix_runs_started_ns", "started_ns"),)


_COLUMN_TYPES = {int: BigInteger, str: Text, float: Double, bool: Boolean, Decimal: _ExactAmount}


def columns_of(kind: type[msgspec.Struct], *, key: str, without: str = "") -> "list[Column[Any]]":
    """Return a column for each field of a struct, after that of its run: what is no plain value is JSON.

    A ``key`` that is no field is the position among the run's rows, from 1.
    """
    found: list[Column[Any]] = [
        Column("run_id", Text, ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True)
    ]
    if key not in kind.__struct_fields__:
        found.append(Column(key, BigInteger, primary_key=True, autoincrement=False))
    for each in msgspec.structs.fields(kind):
        if each.name != without:
            plain = get_args(each.type)[0] if get_origin(each.type) is Annotated else each.type
            types = get_args(plain) if isinstance(plain, UnionType) else (plain,)
            column = next((_COLUMN_TYPES[one] for one in types if one in _COLUMN_TYPES), JSON)
            optional, is_key = NoneType in types or float in types, each.name == key
            found.append(
                Column(each.name, column, primary_key=is_key, nullable=optional, autoincrement=False)
            )
    return found


def _run_key() -> Mapped[str]:
    return mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"), primary_key=True)


class OrderRow(Base):
    """One order: what was asked for and how it ended."""

    __table__ = Table("orders", Base.metadata, *columns_of(SentOrder, key="client_order_id", without="owner"))
    if TYPE_CHECKING:
        run_id: Mapped[str]
        number: Mapped[int]


class FillRow(Base):
    """One execution, once, however often the venue reported it."""

    __table__ = Table(
        "fills",
        Base.metadata,
        *columns_of(Fill, key="number"),
        Index("ix_fills_order", "run_id", "client_order_id"),
    )
    if TYPE_CHECKING:
        run_id: Mapped[str]
        number: Mapped[int]


class DecisionRow(Base):
    """One thing decided, taken or skipped."""

    __tablename__ = "decisions"

    run_id: Mapped[str] = _run_key()
    number: Mapped[int] = mapped_column(primary_key=True)
    """Position among the run's decisions, from 1."""
    event_number: Mapped[int]
    """Position of the event that caused it among the run's events, from 1."""
    ts_ns: Mapped[int]
    kind: Mapped[str]
    taken: Mapped[bool]
    reasons: Mapped[list[Any]]
    facts: Mapped[dict[str, Any]]
    client_order_ids: Mapped[list[Any]]


class MarkRow(Base):
    """State of the book at an instant; amounts in the quote currency."""

    __table__ = Table("marks", Base.metadata, *columns_of(Mark, key="number"))
    if TYPE_CHECKING:
        run_id: Mapped[str]
        number: Mapped[int]


class PositionRow(Base):
    """Position in one instrument at the end of the run; traded instruments that are flat have a row too."""

    __tablename__ = "positions"

    run_id: Mapped[str] = _run_key()
    symbol: Mapped[str] = mapped_column(primary_key=True)
    instrument: Mapped[str]
    """``Equity``, ``OptionContract`` and the like."""
    multiplier: Mapped[int]
    quantity: Mapped[Decimal]
    """Signed contracts or shares."""
    average_price: Mapped[Decimal]
    realized: Mapped[Decimal]
    """Closed profit at average cost, before fees; to ten decimals, as the average price is."""
    fees: Mapped[Decimal]


class SessionRow(Base):
    """What a session of a run earned, as its report has it; a night counts with the session after it."""

    __tablename__ = "sessions"

    run_id: Mapped[str] = _run_key()
    session: Mapped[str] = mapped_column(primary_key=True)
    """Its day, ``YYYY-MM-DD``."""
    pnl: Mapped[Decimal]
    """In the account's smallest unit."""
    parts: Mapped[dict[str, Any]]
    hours: Mapped[dict[str, Any]]
    """By the hour of the New York clock, exact amounts as text."""
    largest_net_delta_shares: Mapped[float]


class TradeRow(Base):
    """From when options are held until none is, as the run's report has it; none of a shared run."""

    __table__ = Table("trades", Base.metadata, *columns_of(Trade, key="number"))
    if TYPE_CHECKING:
        run_id: Mapped[str]
        number: Mapped[int]


class OptionsScalpRecord(Base):
    """One options scalp, with the columns, types and indexes of PRD-136; times are UTC."""

    __tablename__ = "options_scalps"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    signal_id: Mapped[str | None] = mapped_column(String(50))
    ticker: Mapped[str] = mapped_column(String(10))
    option_symbol: Mapped[str] = mapped_column(String(30))
    option_type: Mapped[str] = mapped_column(String(4))
    """``call`` or ``put``."""
    strike: Mapped[float] = mapped_column(Float)
    expiry: Mapped[date] = mapped_column(Date)
    dte: Mapped[int] = mapped_column(Integer)
    direction: Mapped[str] = mapped_column(String(20))
    """``long_call`` or ``long_put``."""
    contracts: Mapped[int] = mapped_column(Integer)
    entry_premium: Mapped[float] = mapped_column(Float)
    exit_premium: Mapped[float | None] = mapped_column(Float)
    entry_delta: Mapped[float | None] = mapped_column(Float)
    entry_theta: Mapped[float | None] = mapped_column(Float)
    entry_iv: Mapped[float | None] = mapped_column(Float)
    status: Mapped[str | None] = mapped_column(String(20), server_default="open")
    """``open``, ``closed`` or ``expired``."""
    exit_reason: Mapped[str | None] = mapped_column(String(50))
    pnl: Mapped[float | None] = mapped_column(Float)
    """(exit - entry) x contracts x multiplier, less fees, in currency."""
    pnl_pct: Mapped[float | None] = mapped_column(Float)
    """exit / entry - 1."""
    broker: Mapped[str | None] = mapped_column(String(20))
    order_id: Mapped[str | None] = mapped_column(String(100))
    entry_time: Mapped[datetime] = mapped_column(DateTime)
    exit_time: Mapped[datetime | None] = mapped_column(DateTime)
    metadata_json: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime | None] = mapped_column(DateTime, server_default=func.now())

    __table_args__ = (
        Index("ix_options_scalps_ticker_status", "ticker", "status"),
        Index("ix_options_scalps_signal_id", "signal_id"),
        Index("ix_options_scalps_expiry", "expiry"),
    )


class ScalpOutcomeRow(Base):
    """Run of a scalp, and what its results are grouped by: the table that performance is read from."""

    __tablename__ = "scalp_outcomes"

    scalp_id: Mapped[int] = mapped_column(
        Integer, ForeignKey("options_scalps.id", ondelete="CASCADE"), primary_key=True
    )
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.run_id", ondelete="CASCADE"))
    ticker: Mapped[str]
    session: Mapped[str]
    """Day of the entry in New York, ``YYYY-MM-DD``."""
    entry_hour: Mapped[int]
    """Hour of the entry in New York, 0 to 23."""
    conviction: Mapped[int | None]
    hold_seconds: Mapped[float | None]
    """From the first fill to the last; NULL while it is open."""
    pnl: Mapped[float | None]

    __table_args__ = (
        Index("ix_scalp_outcomes_run_id", "run_id"),
        Index("ix_scalp_outcomes_pnl", "pnl"),
        # each holds all that its group's figures need, in the group's order: no sorting
        Index("ix_scalp_outcomes_session", "session", "pnl", "hold_seconds"),
        Index("ix_scalp_outcomes_ticker", "ticker", "pnl", "hold_seconds"),
        Index("ix_scalp_outcomes_entry_hour", "entry_hour", "pnl", "hold_seconds"),
        Index("ix_scalp_outcomes_conviction", "conviction", "pnl", "hold_seconds"),
    )


class NoteRow(Base):
    """What a person noted of a run, a day or a trade; it stays when the rows of its run are made again."""

    __tablename__ = "notes"

    run_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    """``run``, ``day`` or ``trade``."""
    name: Mapped[str] = mapped_column(primary_key=True)
    """Empty, ``YYYY-MM-DD``, or the trade's number."""
    tags: Mapped[list[Any]]
    note: Mapped[str]
    changed_ns: Mapped[int]


CHILD_TABLES = (OrderRow, FillRow, DecisionRow, MarkRow, PositionRow, SessionRow, TradeRow)
"""Tables whose rows belong to a run."""
