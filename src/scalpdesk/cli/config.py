"""``scalpdesk config``: what the desk would run with, and where each value comes from.

``scalpdesk init``: a commented configuration to start from, generated from the schema itself.
"""

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import Any

import click

from scalpdesk.cli.command import DeskGroup, desk_command, settings_from, settings_options
from scalpdesk.cli.output import print_answer, print_json, print_table, shown, table_of
from scalpdesk.config import meanings
from scalpdesk.config.settings import LoadedSettings, dotenv_names, key_pairs, load_settings
from scalpdesk.config.sources import dotted, leaves, read_dotenv
from scalpdesk.core.errors import ConfigError, RetryError, ScalpdeskError, nearest_name
from scalpdesk.core.units import count_text
from scalpdesk.instruments.broker_terms import fee_names
from scalpdesk.simulation.fills import fill_model
from scalpdesk.strategies.registry import find_strategy, strategy_names
from scalpdesk.venues.contract import AccountFacts
from scalpdesk.venues.registry import DEFAULT_VENUE, venue_names

_DEFAULT_STRATEGY = "gamma-scalper"


@click.group("config", cls=DeskGroup)
def config() -> None:
    """The effective configuration and where each value is from."""


@desk_command(
    "show",
    example=(
        "scalpdesk config show",
        "scalpdesk config show exits.stop_fraction",
        "scalpdesk config show gamma-scalper --set hedge.band=zakamouline --json",
    ),
    group=config,
)
@click.argument("strategy", required=False)
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@settings_options
def show(
    *, as_json: bool, strategy: str | None, changed: bool, config_file: str | None, overrides: tuple[str, ...]
) -> None:
    """Show every value with its source; keys are masked.

    Where no STRATEGY is named, that of desk.strategy_mode, or the gamma scalper. A key in its place, as
    exits.stop_fraction, is explained: what it means, takes, is by default and is now.
    """
    key = strategy if strategy is not None and "." in strategy else None
    strategy = _strategy_of(None if key else strategy, config_file)
    loaded = settings_from(config_file, overrides, strategy)
    if key is not None:
        _explain(loaded, strategy, key, as_json=as_json)
        return
    rows = [
        {"key": key, "value": value, "source": loaded.sources[key]}
        for key, value in ((dotted(path), value) for path, value in leaves(loaded.effective()))
        if not changed or loaded.sources[key] != "default"
    ]
    if as_json:
        print_json({"strategy": strategy, **_identity(loaded), "values": rows})
        return
    made = {"value": lambda row: shown(row["value"])}
    print_table(table_of(rows, "key|value|source", made, text=("value", "source")))
    click.echo(f"\n{_described(loaded)}; configuration {loaded.config_hash[:12]}")


def _explain(loaded: LoadedSettings, strategy: str, key: str, *, as_json: bool) -> None:
    """Show what one key means, takes, is by default and is now.

    Raises ConfigError when there is no such key.
    """
    known = meanings.desk_meanings(strategy)
    full = next((each for each in (f"strategies.{strategy}.{key}", key) if each in known), None)
    if full is None:
        short = [each.removeprefix(f"strategies.{strategy}.") for each in known]
        near = nearest_name(key, short)
        raise ConfigError(
            "there is no such key",
            where="KEY",
            value=key,
            nearest=near,
            fix=f"scalpdesk config show {near or ''}",
        )
    meaning = known[full]
    now = {dotted(path): value for path, value in leaves(loaded.effective())}.get(full)
    source = loaded.sources.get(full, "default")
    document = {
        "key": full,
        "means": meaning.means,
        "takes": meaning.takes_text,
        "default": meaning.default.strip("`"),
        "value": now,
        "source": source,
    }
    lines = [full, *wrap(meaning.means.replace("`", ""), 100, initial_indent="  ", subsequent_indent="  ")]
    lines += [f"  takes: {meaning.takes_text}; default: {document['default']}"]
    lines += [f"  now: {shown(now)} ({source})"]
    print_answer(document, "\n".join(lines), as_json=as_json)


@desk_command(
    "check", example=("scalpdesk config check", "scalpdesk config check --config desk.toml"), group=config
)
@click.argument("strategy", required=False)
@settings_options
def check(
    *, as_json: bool, strategy: str | None, config_file: str | None, overrides: tuple[str, ...]
) -> None:
    """Check every key and value; exit 2 names all that are wrong.

    Where no STRATEGY is named, with that of desk.strategy_mode, or the gamma scalper.
    """
    strategy = _strategy_of(strategy, config_file)
    loaded = settings_from(config_file, overrides, strategy)
    try:  # what only the parts themselves can check: a band's own settings, the name of a fill model
        find_strategy(strategy).build(loaded.strategy_config)
        simulation = loaded.config.simulation
        for name in (simulation.fill_model, simulation.fill_model_hedge or simulation.fill_model):
            fill_model(name)
    except ConfigError as error:
        raise loaded.located(error) from error
    changed = {key: source for key, source in loaded.sources.items() if source != "default"}
    text = f"ok: {_described(loaded)}, {count_text(len(changed), 'key')} set"
    print_answer({"ok": True, **_identity(loaded), "set": changed}, text, as_json=as_json)


def _identity(loaded: LoadedSettings) -> dict[str, str | None]:
    """Return which file and which configuration these settings are."""
    file = str(loaded.config_file) if loaded.config_file else None
    return {"config_file": file, "config_hash": loaded.config_hash}


def _strategy_of(given: str | None, config_file: str | None) -> str:
    """Return the strategy that ``run`` would take, or the default one."""
    if given is not None:
        return given
    try:
        return settings_from(config_file).config.desk.strategy_mode or _DEFAULT_STRATEGY
    except ConfigError:  # named by the command itself, with all other mistakes
        return _DEFAULT_STRATEGY


def _described(loaded: LoadedSettings) -> str:
    return f"file {loaded.config_file.name}" if loaded.config_file else "no configuration file: defaults"


_SECTION_COMMENTS = {
    "desk": "Where runs are kept, and which account trades.",
    "data": "The catalogue of recorded market data (scalpdesk data import ...).",
    "simulation": "The simulated venue: fill_model (cross, mid, queue, adverse); fees: none or a venue's.",
    "marketdata": "Quotes older than this open nothing.",
    "gex": "Dealer gamma exposure: where it comes from, and when it is too old.",
    "risk": "Limits that every order passes; no limit can be switched off with 0.",
    "alerts": "Messages to people; their addresses are keys and belong in .env (docs/go-live/alerts.md).",
    "dashboard": "The page behind a proxy that speaks TLS (docs/operations/https.md).",
    "venue": "The venue of scalpdesk run: address, feeds, limits, times; options given to run win.",
    "rates": "Interest rates as fractions a year, continuously compounded.",
    f"strategies.{_DEFAULT_STRATEGY}": "The gamma scalper.",
}
HEADER = """\
# Configuration of scalpdesk. Lines starting with # show the default of every key.
# Sources, later wins: defaults, this file, .env, environment (SCALPDESK_SECTION__KEY), --set KEY=VALUE.
# See what is in force:  scalpdesk config show; what a key means:  scalpdesk config show KEY
"""
BEGINNERS = frozenset(
    {
        *("desk.strategy_mode", "desk.runs_dir", "desk.at_expiry", "data.catalog"),
        *("simulation.starting_cash", "simulation.fees", "simulation.fill_model", "simulation.latency_ms"),
        *("simulation.seed", "simulation.options_level"),
        *("risk.max_daily_loss", "risk.max_daily_loss_fraction", "risk.max_consecutive_losses"),
        *("risk.max_position_fraction", "risk.max_premium_fraction", "risk.max_order_contracts"),
        *("risk.max_short_contracts", "risk.max_net_delta_fraction", "risk.allowed_underlyings"),
        *("venue.on_stop", "venue.watchdog", "alerts.level", "alerts.quiet_hours"),
    }
)
"""Keys that a beginner sets: ``init`` writes these, and the rest with ``--all``."""
BEGINNERS_OF_A_STRATEGY = frozenset(
    {
        *(
            "underlying",
            "straddles",
            "structure.shape",
            "structure.side",
            "structure.right",
            "structure.body",
        ),
        *("structure.wing", "selection.min_expiration_days", "selection.max_expiration_days"),
        *("entry.gate", "entry.not_before", "entry.not_after", "entry.mode", "entry.straddles", "entry.at"),
        *("hedge.band", "hedge.threshold_shares", "hedge.threshold", "exits.stop_fraction", "exit.at"),
        *("exits.target_fraction", "exits.min_dte", "exits.close_at", "exit.stop_fraction"),
        *("exit.target_fraction", "profit_target", "stop_usd", "buy_from", "buy_until", "sell_until"),
    }
)
"""The same of a strategy, relative to its section."""
_DOTENV_EXAMPLE = """\
# Copy to .env and fill in. Keep it to yourself: chmod 600 .env, and never commit it.
IS_PAPER_TRADING=true
TRADING_API_KEY=
TRADING_API_SECRET=

# Accounts of their own for st0cka and st0ckg; without these they trade the one above.
# ST0CKAKEY=
# ST0CKASECRET=
# ST0CKGKEY=
# ST0CKGSECRET=

# Strategy of commands that name no strategy, as st0cka, st0ckg, hybrid:
# STRATEGY_MODE=st0cka

# Any other setting can stand here too:
# HEDGING_ASSET=SPY
# HEDGING_DELTA_THRESHOLD=2.0
# USE_VOLATILITY_SIZING=true
# USE_MEAN_REVERSION=false
# MAX_DAILY_LOSS=500
# MAX_CONSECUTIVE_LOSSES=3
# SCALPDESK_SIMULATION__LATENCY_MS=50
"""
_PRIVATE = 0o600


@desk_command("init", example=("scalpdesk init", "scalpdesk init --yes --force"))
@click.option("--yes", is_flag=True, help="Ask nothing; take the defaults.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@click.option(
    "--all", "all_keys", is_flag=True, help="Write every key, not those alone that a beginner sets."
)
@click.option("--url", metavar="URL", help="A simulated exchange in the venue's place.")
def init(*, as_json: bool, yes: bool, force: bool, all_keys: bool, url: str | None) -> None:
    """Write scalpdesk.toml, each key below what it means, takes and is by default, and .env.example.

    On a terminal it asks for strategy, venue, size and limits, tries the keys of a paper account at their
    venue, and stores them in .env (readable by you alone), never in scalpdesk.toml.
    """
    from scalpdesk.datasets.store import replace_file

    folder = Path.cwd()
    config_path, example_path, dotenv_path = (
        folder / name for name in ("scalpdesk.toml", ".env.example", ".env")
    )
    for path in (config_path, example_path):
        if path.exists() and not force:
            raise ConfigError(
                "the file is already there", where=path.name, value=str(path), fix="scalpdesk init --force"
            )
    if not yes and not (sys.stdin.isatty() or as_json):
        raise ConfigError(
            "there is no person to ask: this is not a terminal",
            where="scalpdesk init",
            fix="scalpdesk init --yes",
        )
    chosen = Choices() if yes or as_json else _ask(dotenv_path, url)
    replace_file(config_path, _toml_text(chosen.settings, chosen.strategy, all_keys=all_keys))
    replace_file(example_path, _DOTENV_EXAMPLE)
    written = [config_path.name, example_path.name]
    if chosen.keys:
        before = dotenv_path.read_text(encoding="utf-8").splitlines() if dotenv_path.exists() else []
        kept = [line for line in before if line.partition("=")[0].strip() not in chosen.keys]
        lines = [*kept, *(f"{name}={value}" for name, value in chosen.keys.items())]
        replace_file(dotenv_path, "".join(f"{line}\n" for line in lines), mode=_PRIVATE)
        written.append(dotenv_path.name)
    if dotenv_path.exists():
        dotenv_path.chmod(_PRIVATE)
    text = f"written: {', '.join(written)}\nnext: scalpdesk config check, then {chosen.command}"
    print_answer({"written": written, "folder": str(folder)}, text, as_json=as_json)


@dataclass(slots=True)
class Choices:
    """Answers to the wizard: settings by dotted key, names and values for ``.env``, the command to run."""

    strategy: str = _DEFAULT_STRATEGY
    settings: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    command: str = "scalpdesk demo"


def _ask(dotenv_path: Path, url: str | None) -> Choices:
    """Ask for what most desks change, each question with its default."""
    strategy = click.prompt("Strategy", default=_DEFAULT_STRATEGY, type=click.Choice(strategy_names()))
    venue = click.prompt(
        "Venue", default="simulated", type=click.Choice(["simulated", "sandbox", *venue_names()])
    )
    known = load_settings(strategy, cwd=dotenv_path.parent / "nowhere")
    found = Choices(strategy, {"desk.strategy_mode": strategy}, {}, f"scalpdesk run --venue {venue}")
    section = f"strategies.{strategy}"
    for key, question in (("underlying", "Underlying"), ("straddles", "Straddles, at most")):
        default = getattr(known.strategy_config, key, None)
        if default is not None:
            whole = click.IntRange(min=1) if isinstance(default, int) else None
            found.settings[f"{section}.{key}"] = click.prompt(question, default=default, type=whole)
    if venue in {"simulated", "sandbox"}:
        cash = click.prompt("Starting cash of the account", default=100_000, type=click.IntRange(min=1))
        found.settings["simulation.starting_cash"] = str(cash)
        fees = click.Choice(fee_names())
        found.settings["simulation.fees"] = click.prompt("Fees", default="none", type=fees)
    percent = click.FloatRange(0, 100, min_open=True)
    for key, question, default in (
        ("risk.max_daily_loss_fraction", "Largest loss of a day, % of the equity", 5.0),
        ("risk.max_position_fraction", "Largest risk of one position, % of the equity", 25.0),
    ):
        share = float(click.prompt(question, default=default, type=percent)) / 100.0
        found.settings[key] = round(share, 6)
    if venue != "simulated":
        if url is not None:
            found.settings |= {"venue.url": url, "venue.exchange_time": True}
        _ask_keys(found, venue, dotenv_path, url)
    alerts = click.prompt("Addresses for alerts (apprise; empty: no alerts)", default="", hide_input=True)
    if alerts:
        found.keys["SCALPDESK_CREDENTIALS__ALERT_URLS"] = alerts
    return found


_MOST_TRIES = 3


def _ask_keys(found: Choices, venue: str, dotenv_path: Path, url: str | None) -> None:
    """Ask for the keys of a paper account until the venue takes them; what is in ``.env`` is tried first."""
    names = dotenv_names(key_pairs(found.strategy)[0])
    there = read_dotenv(dotenv_path) if dotenv_path.exists() else {}
    keys = {name: there[name] for name in names if there.get(name)}
    for attempt in range(_MOST_TRIES):
        if attempt or not keys:
            if not click.confirm(f"Store the keys of a paper account at {venue} in .env?", default=True):
                return
            keys = {name: click.prompt(name, hide_input=True) for name in names}
        click.echo(f"asking {venue} …")
        answer, is_taken = _tried_keys(found, venue, keys, url)
        click.echo(answer)
        if is_taken is not False:
            if any(there.get(name) != value for name, value in keys.items()):
                found.keys |= {"IS_PAPER_TRADING": "true", **keys}
            return
    click.echo("no keys were stored: put them into .env, then scalpdesk doctor")


def _tried_keys(found: Choices, venue: str, keys: dict[str, str], url: str | None) -> tuple[str, bool | None]:
    """Return what a venue says to keys, in words, and whether it takes them; None when it does not answer."""
    import asyncio

    from scalpdesk.instruments.contract import Instruments
    from scalpdesk.live.assembly import venue_gateway
    from scalpdesk.live.options import RunOptions
    from scalpdesk.live.plan import plan_of

    async def ask() -> AccountFacts:
        gateway = venue_gateway(plan, Instruments(), plan.clock, venue=place)
        try:
            return await gateway.connect()
        finally:
            await gateway.close(graceful=False)

    place = DEFAULT_VENUE if venue == "sandbox" else venue  # whose live quotes the sandbox fills at
    try:
        settings = load_settings(found.strategy, environ=keys, cwd=Path(os.devnull), simulated_account=False)
        plan = plan_of(settings, RunOptions(venue=place, url=url, exchange_time=True if url else None))
        account = asyncio.run(ask())
    except RetryError as error:
        return f"the venue does not answer ({error.what}); the keys are stored untried", None
    except ScalpdeskError as error:
        return f"not taken: {error.what}" + (f"; {error.fix}" if error.fix else ""), False
    return (
        f"taken: account …{account.account_id[-4:]}, {account.status}, equity {account.equity}"
        f" {account.currency}, options level {account.options_level}"
    ), True


def _toml_text(answers: dict[str, Any], strategy: str = _DEFAULT_STRATEGY, *, all_keys: bool = False) -> str:
    """Return the configuration file: keys with meaning and default as comments, ``answers`` set."""
    tree = load_settings(strategy, cwd=Path("/nonexistent")).effective()
    tree.pop("credentials")  # keys belong in .env
    strategies = tree.pop("strategies")
    own = f"strategies.{strategy}"
    kept = {*BEGINNERS, *(f"{own}.{key}" for key in BEGINNERS_OF_A_STRATEGY), *answers}
    page = _SettingsFile(meanings.desk_meanings(strategy), answers, None if all_keys else frozenset(kept))
    lines = [HEADER if all_keys else f"{HEADER}# Every key:  scalpdesk init --all --force\n"]
    for name, section in tree.items():
        lines += page.section(name, section)
    for name, section in strategies.items():
        lines += page.section(f"strategies.{name}", section)
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _SettingsFile:
    """The configuration file as it is written."""

    keys: dict[str, meanings.KeyMeaning]
    answers: dict[str, Any]
    kept: frozenset[str] | None
    """Keys that are written; None for all."""

    def section(self, name: str, section: dict[str, Any]) -> list[str]:
        """Return the lines of a section and of those in it; none where no key of it is written."""
        tables = {key: value for key, value in section.items() if isinstance(value, dict) and value}
        lines, told = list[str](), ""
        for key, default in section.items():
            path = f"{name}.{key}"
            if key in tables or not (self.kept is None or path in self.kept):
                continue
            meaning = self.keys.get(path)
            if meaning is not None:
                if meaning.means != told:  # of several keys that share a sentence, once
                    lines += [f"# {line}" for line in wrap(meaning.means.replace("`", ""), 100)]
                told = meaning.means
                lines.append(f"#   takes: {meaning.takes_text}")
            if path in self.answers:
                lines.append(f"{key} = {toml_value(self.answers[path])}")
            else:
                value = "    (not set)" if default is None else toml_value(default)
                lines.append(f"# {key} = {value}")
        if lines:
            about = [f"# {_SECTION_COMMENTS[name]}"] if name in _SECTION_COMMENTS else []
            lines = [*about, f"[{name}]", *lines, ""]
        for key, table in tables.items():
            lines += self.section(f"{name}.{key}", table)
        return lines


def toml_value(value: Any) -> str:
    """Return a plain value as TOML writes it."""
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value)
