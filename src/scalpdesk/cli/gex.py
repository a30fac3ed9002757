"""``scalpdesk gex``: dealer gamma exposure of a chain; computed, shown, kept, published."""

import os
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.chain import read_date
from scalpdesk.cli.command import desk_command, settings_options
from scalpdesk.cli.output import print_json
from scalpdesk.core.errors import ArgumentError, ConfigError, DataError, RetryError

if TYPE_CHECKING:
    from scalpdesk.cli.gex_view import ChainAt
    from scalpdesk.settings import LoadedSettings

EMBEDDED = "embedded"
DEFAULT_SESSION = "2018-02-05"
DEFAULT_TIME = "12:00"
STRIKES_SHOWN = 12
INDEX = "SPX"


@desk_command(
    "gex",
    example=(
        "scalpdesk gex SPY --session 2018-02-05 --at 15:00",
        "scalpdesk gex GOOG --data lean --session 2015-12-24 --at 11:00 --plot goog.png",
        "scalpdesk gex SPY --chain chains.parquet --session 2026-08-18 --json",
        "scalpdesk gex SPY --days 20",
    ),
)
@click.argument("symbol")
@click.option("--data", "data_set", default=EMBEDDED, show_default=True, help="Name of the data set.")
@click.option(
    "--session",
    default=None,
    metavar="DATE",
    help=f"Trading day [default: {DEFAULT_SESSION}; of --chain: its latest].",
)
@click.option(
    "--at", "clock", default=DEFAULT_TIME, metavar="HH:MM", show_default=True, help="New York time."
)
@click.option(
    "--chain", "chain_file", default=None, metavar="FILE", help="A chain from a CSV or Parquet file."
)
@click.option("--spot", type=float, default=None, help="Underlying, where FILE does not say.")
@click.option(
    "--strikes",
    type=click.IntRange(min=0),
    default=STRIKES_SHOWN,
    show_default=True,
    help="Strikes shown on either side.",
)
@click.option("--plot", "plot_file", default=None, metavar="FILE", help="Draw strikes and profile into FILE.")
@click.option("--keep", is_flag=True, help="Keep the exposure as this session's, to compare later ones with.")
@click.option("--days", type=click.IntRange(1, 250), default=None, help="Keep each of the last N sessions.")
@click.option("--publish", is_flag=True, help="Write the exposure to Firestore.")
@click.option("--document", default=None, metavar="PATH", help="Document of --publish [default: by SYMBOL].")
@click.option(
    "--seed", type=int, default=None, help="Path of the embedded market [default: simulation.seed]."
)
@settings_options
def gex(
    *,
    as_json: bool,
    symbol: str,
    data_set: str,
    session: str | None,
    clock: str,
    chain_file: str | None,
    spot: float | None,
    strikes: int,
    plot_file: str | None,
    keep: bool,
    days: int | None,
    publish: bool,
    document: str | None,
    seed: int | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Compute the dealer gamma exposure of SYMBOL's chain from its open interest.

    In USD: how much delta dealers gain when the underlying moves 1 %, if customers sell calls and buy puts.
    That is a convention and not an observation. Open interest is the evening's before: what was traded
    today is not in it.
    """
    from scalpdesk.cli.gex_view import draw, exposure_document, print_exposure
    from scalpdesk.settings import load_settings

    symbol = symbol.upper()
    settings = load_settings(config_file=config_file, overrides=overrides, environ=os.environ, cwd=Path.cwd())
    day = None if session is None else read_date(session, "--session")
    if chain_file is not None:
        _refuse_with_file(data_set, seed, days)
        at = _from_file(Path(chain_file), symbol, day, spot, settings)
    else:
        last = day or date.fromisoformat(DEFAULT_SESSION)
        if days is not None:
            _keep_days(settings, symbol, data_set, last, clock, seed, days)
        at = _from_market(settings, symbol, data_set, last, clock, seed)
    usual = _kept(settings, at) if keep else _history(settings, at).usual(at.day)
    shown = exposure_document(at, usual)
    if plot_file is not None:
        draw(at, shown, Path(plot_file))
        shown["plot"] = plot_file
    if publish:
        shown["published"] = _publish(settings, at, shown, document)
    if as_json:
        print_json(shown)
    else:
        print_exposure(shown, strikes)


def _refuse_with_file(data_set: str, seed: int | None, days: int | None) -> None:
    for name, given in (("--data", data_set != EMBEDDED), ("--seed", seed is not None), ("--days", days)):
        if given:
            raise ConfigError(f"a chain file goes without {name}", where="--chain", fix=f"leave {name} out")


def _from_market(
    settings: "LoadedSettings", symbol: str, data_set: str, day: date, clock: str, seed: int | None
) -> "ChainAt":
    from scalpdesk.assembly import load_market
    from scalpdesk.cli.gex_view import ChainAt
    from scalpdesk.signals.chain_exposure import price_tape

    if data_set != EMBEDDED and seed is not None:
        raise ConfigError("recorded data has no seed", where="--seed", value=seed, fix="leave --seed out")
    path_seed = settings.config.simulation.seed if seed is None else seed
    tape = load_market(settings, data_set, underlying=symbol, start=day, end=day, seed=path_seed)
    if not tape.open_interest:
        raise DataError(
            f"this data set has no open interest of {symbol}",
            where=f"{tape.name}, {day}",
            fix="choose a session that has (scalpdesk data ls), or a chain file with --chain",
        )
    held = tape.sessions[0]
    now_ns = _instant(day, clock, held.open_ns, held.close_ns)
    return ChainAt(symbol, tape.name, tape.kind, day, now_ns, price_tape(tape, now_ns), tape.notes)


def _from_file(
    path: Path, symbol: str, day: date | None, spot: float | None, settings: "LoadedSettings"
) -> "ChainAt":
    from scalpdesk.cli.gex_view import ChainAt
    from scalpdesk.datasets.chain_files import read_chain
    from scalpdesk.instruments.sessions import expiry_instant_ns, to_new_york
    from scalpdesk.signals.chain_exposure import chain_of, price_chain

    stored = read_chain(path, symbol, session=day, spot=spot)
    rate = settings.config.rates.flat
    chain = chain_of(
        stored.contracts,
        stored.bid,
        stored.ask,
        spot=stored.spot,
        ts_ns=stored.ts_ns,
        rate=settings.config.rates.default if rate is None else rate,
    )
    living = [one for one in stored.contracts if expiry_instant_ns(one) > stored.ts_ns]
    held = {
        one.symbol: float(count) for one, count in zip(stored.contracts, stored.open_interest, strict=True)
    }
    notes = []
    if len(living) < len(stored.contracts):
        gone = len(stored.contracts) - len(living)
        notes.append(f"{gone} options had expired by the time of the quotes and are left out")
    if stored.rows_refused:
        notes.append(f"{stored.rows_refused} rows are no options of {symbol}")
    at_day = stored.session or to_new_york(stored.ts_ns).date()
    priced = price_chain(chain, living, held)
    return ChainAt(symbol, path.name, "recorded", at_day, stored.ts_ns, priced, tuple(notes))


def _instant(day: date, clock: str, open_ns: int, close_ns: int) -> int:
    from scalpdesk.instruments.sessions import new_york_ns, to_new_york

    try:
        now_ns = new_york_ns(day, time.fromisoformat(clock))
    except ValueError as problem:
        raise ArgumentError(
            "not a time of day", where="--at", value=clock, fix="write it as 15:00"
        ) from problem
    if not open_ns <= now_ns <= close_ns:
        opens, closes = (f"{to_new_york(ns):%H:%M}" for ns in (open_ns, close_ns))
        raise ArgumentError(
            "the exchange is closed at this time",
            where="--at",
            value=clock,
            fix=f"use a time between {opens} and {closes}",
        )
    return now_ns


def _history(settings: "LoadedSettings", at: "ChainAt") -> Any:
    from scalpdesk.regime.exposure_history import ExposureHistory

    return ExposureHistory(Path(settings.config.data.catalog), at.data, at.symbol)


def _kept(settings: "LoadedSettings", at: "ChainAt") -> tuple[float, float]:
    history = _history(settings, at)
    history.keep([at.as_session()])
    usual: tuple[float, float] = history.usual(at.day)
    return usual


def _keep_days(
    settings: "LoadedSettings",
    symbol: str,
    data_set: str,
    last: date,
    clock: str,
    seed: int | None,
    days: int,
) -> None:
    """Keep the exposures of the sessions up to ``last``; what a data set does not hold is passed over."""
    from scalpdesk.instruments.sessions import is_session, previous_session

    day = last if is_session(last) else previous_session(last).day
    for _ in range(days):
        try:
            at = _from_market(settings, symbol, data_set, day, clock, seed)
        except DataError as error:
            click.echo(f"{day}: {error.what}", err=True)
        except ArgumentError as error:  # a half day is over by then
            click.echo(f"{day}: {error.what} ({clock})", err=True)
        else:
            _history(settings, at).keep([at.as_session()])
        day = previous_session(day).day


def _publish(
    settings: "LoadedSettings", at: "ChainAt", shown: dict[str, Any], document: str | None
) -> dict[str, Any]:
    """Write the exposure where a desk reads it; its stamp is that of the quotes."""
    from scalpdesk.regime.exposure_store import ExposureUnknownError, StoredExposure
    from scalpdesk.regime.live_source import firestore_of

    if shown["net_usd"] is None:
        raise DataError(
            "an exposure that is not known is not published",
            where=f"{at.data}, {at.day}",
            value=shown["reason"],
            fix="choose a chain with open interest and quotes",
        )
    keys, chosen = settings.config.credentials, settings.config.gex
    path = document or (chosen.document if at.symbol == chosen.symbol else f"market_regime/{at.symbol}_GEX")
    store = firestore_of(
        chosen,
        project=keys.firebase_project_id,
        credentials_file=keys.google_application_credentials,
        emulator_host=keys.firestore_emulator_host,
        document=path,
    )
    try:
        store.write(StoredExposure(at.symbol, shown["net_usd"], at.now_ns))
    except ExposureUnknownError as error:
        raise RetryError(
            f"Firestore did not take the exposure: {error}",
            where=path,
            fix="check FIREBASE_PROJECT_ID, GOOGLE_APPLICATION_CREDENTIALS and the network",
        ) from error
    finally:
        store.close()
    return {"document": path, "gex_value": shown["net_usd"], "symbol": at.symbol, "last_update": shown["at"]}
