"""The market that a command is about: the options that choose it, and its tape at an instant."""

import math
from collections.abc import Callable
from datetime import date, time
from typing import TYPE_CHECKING, Annotated

import click

from scalpdesk.cli.command import Body
from scalpdesk.core.errors import ArgumentError, ConfigError, DataError
from scalpdesk.core.flags import Flag, Options, QuotesOption, read_date
from scalpdesk.datasets.embedded import EMBEDDED, RECONSTRUCTED, USUAL_DAY
from scalpdesk.instruments.sessions import new_york_ns, to_new_york

if TYPE_CHECKING:
    from scalpdesk.config.settings import LoadedSettings
    from scalpdesk.marketdata.tape import MarketTape

DEFAULT_SESSION = USUAL_DAY.isoformat()

data_option = click.option(
    "--data", "data_set", default=EMBEDDED, show_default=True, help="Name of the data set."
)
seed_option = click.option("--seed", type=int, help="Path of the embedded market [default: simulation.seed].")


def strikes_option(shown: int) -> Callable[[Body], Body]:
    """Return the option ``--strikes`` with its default."""
    what = "Strikes shown on either side."
    return click.option("--strikes", type=click.IntRange(min=0), default=shown, show_default=True, help=what)


class DaySpan(Options, frozen=True, kw_only=True):
    """Sessions of a data set."""

    start: Annotated[date, Flag("First session.", "DATE")]
    end: Annotated[date | None, Flag("Last day [default: the first].", "DATE")] = None
    data_set: Annotated[str, Flag("Name of the data set.", name="--data")] = EMBEDDED

    def __post_init__(self) -> None:
        """Refuse an end before the start."""
        super().__post_init__()
        span_of(self.start, self.end)

    @property
    def days(self) -> tuple[date, date]:
        """First and last day."""
        return self.start, self.end or self.start


class UsualSpan(DaySpan, frozen=True, kw_only=True):
    """Sessions of a data set, the usual one where none is named."""

    start: Annotated[date, Flag("First session.", "DATE")] = USUAL_DAY
    end: Annotated[date | None, Flag("Last session [default: the first].", "DATE")] = None


class Moment(Options, frozen=True, kw_only=True):
    """A minute of a session of a data set, and the quotes that count then."""

    data_set: Annotated[str, Flag("Name of the data set.", name="--data")] = EMBEDDED
    session: Annotated[date, Flag("Trading day.", "DATE", name="--start")] = USUAL_DAY
    clock: Annotated[str, Flag("New York time.", "HH:MM", name="--time")] = "12:00"
    max_age: Annotated[
        float | None, Flag("Leave older quotes out [default: 2.5 quote intervals of the data].", "SECONDS")
    ] = None
    seed: Annotated[int | None, Flag("Path of the embedded market [default: simulation.seed].")] = None

    def __post_init__(self) -> None:
        """Refuse an age that is none."""
        super().__post_init__()
        if self.max_age is not None and not 0.0 < self.max_age < math.inf:
            fix = "write seconds, e.g. 300"
            raise ArgumentError("an age is above 0 seconds", where="--max-age", value=self.max_age, fix=fix)

    def load(self, settings: "LoadedSettings", symbol: str) -> "MarketTape":
        """Load the session of a symbol."""
        return load_tape(settings, self.data_set, symbol.upper(), self.session, seed=self.seed)


class Drawn(Options, frozen=True, kw_only=True):
    """Path and quotes of a reconstructed market; None takes what the settings have."""

    seed: Annotated[int | None, Flag("Path of the embedded market [default: 1].")] = None
    quality: QuotesOption = None

    def seed_of(self, settings: "LoadedSettings", data_set: str) -> int | None:
        """Return the seed of a market; None for a recorded one."""
        if data_set not in RECONSTRUCTED:
            return None
        return settings.config.simulation.seed if self.seed is None else self.seed


def param_option(about: str) -> Callable[[Body], Body]:
    """Return the option ``--param`` (``params: tuple[str, ...]``) of what a sweep varies."""
    return click.option("--param", "params", multiple=True, required=True, metavar="KEY=VALUES", help=about)


def span_options(first: str = "First day.") -> Callable[[Body], Body]:
    """Return the options ``--start`` (``start: str``) and ``--end`` (``end: str | None``) of a span."""

    def add(body: Body) -> Body:
        body = click.option("--end", metavar="DATE", help="Last day [default: the first].")(body)
        return click.option("--start", required=True, metavar="DATE", help=first)(body)

    return add


def read_span(start: str, end: str | None) -> tuple[date, date]:
    """Read the first and the last day of a span; without an end it is one day.

    Raises
    ------
    ArgumentError
        When a text is no date.
    ConfigError
        When the last day lies before the first.
    """
    return span_of(read_date(start, "--start"), None if end is None else read_date(end, "--end"))


def span_of(first: date, end: date | None) -> tuple[date, date]:
    """Return the first and the last day of a span; without an end it is one day.

    Raises ConfigError when the last day lies before the first.
    """
    last = first if end is None else end
    if last < first:
        raise ConfigError(
            "the last day lies before the first",
            where="--end",
            value=str(end),
            fix=f"--start {last} --end {first}, or leave --end out for one day",
        )
    return first, last


def load_tape(
    settings: "LoadedSettings",
    data_set: str,
    symbol: str,
    first: date,
    *,
    last: date | None = None,
    seed: int | None = None,
) -> "MarketTape":
    """Load the sessions from ``first`` to ``last`` of a data set or of the embedded market.

    Without a seed that of the settings is taken.

    Raises
    ------
    ConfigError
        When recorded data is given a seed.
    DataError
        When a session is not there; names the option and the nearest session.
    """
    from scalpdesk.assembly import load_market

    if data_set not in RECONSTRUCTED and seed is not None:
        raise ConfigError("recorded data has no seed", where="--seed", value=seed, fix="leave --seed out")
    path_seed = settings.config.simulation.seed if seed is None else seed
    try:
        return load_market(
            settings, data_set, underlying=symbol, start=first, end=last or first, seed=path_seed
        )
    except DataError as error:
        if error.where != "session":
            raise
        near = (error.nearest or "").rpartition(" ")[2]
        option = "--end" if last not in {None, first} and error.value == str(last) else "--start"
        raise DataError(
            error.what,
            where=option,
            value=error.value,
            nearest=error.nearest,
            fix=f"{option} {near}; scalpdesk data ls shows what there is" if near else error.fix,
        ) from error


def tape_of(settings: "LoadedSettings", span: DaySpan, drawn: Drawn) -> "MarketTape":
    """Load the sessions of a span, of what the strategy of the settings trades."""
    from scalpdesk.strategies.contract import configured_underlyings

    first, last = span.days
    symbols = ",".join(configured_underlyings(settings.strategy_config))
    return load_tape(settings, span.data_set, symbols, first, last=last, seed=drawn.seed)


def time_of_day(text: str, where: str = "--time") -> time:
    """Read a time of day. Raises ArgumentError when the text is none."""
    try:
        return time.fromisoformat(text.zfill(5))
    except ValueError as problem:
        raise ArgumentError(
            "not a time of day", where=where, value=text, fix="write it as 15:00"
        ) from problem


def instant_ns(tape: "MarketTape", clock: str, where: str = "--time") -> int:
    """Return the UTC nanoseconds of a New York time of day in the tape's first session.

    Raises ArgumentError when the text is no time of day, or the exchange is closed then.
    """
    session = tape.sessions[0]
    now_ns = new_york_ns(session.day, time_of_day(clock, where))
    if not session.open_ns <= now_ns <= session.close_ns:
        opens, closes = (f"{to_new_york(ns):%H:%M}" for ns in (session.open_ns, session.close_ns))
        raise ArgumentError(
            "the exchange is closed at this time",
            where=where,
            value=clock,
            fix=f"use a time between {opens} and {closes}",
        )
    return now_ns
