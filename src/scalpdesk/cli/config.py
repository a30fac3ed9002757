"""``scalpdesk config``: what the desk would run with, and where each value comes from.

``scalpdesk init``: a commented configuration to start from, generated from the schema itself.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import DeskGroup, desk_command, settings_from, settings_options
from scalpdesk.cli.output import new_table, print_json, print_table, shown
from scalpdesk.config.settings import LoadedSettings, load_settings
from scalpdesk.config.sources import dotted, leaves
from scalpdesk.core.errors import ConfigError
from scalpdesk.simulation.fills import fill_model
from scalpdesk.strategies.registry import find_strategy

DEFAULT_STRATEGY = "gamma-scalper"


@click.group("config", cls=DeskGroup)
def config() -> None:
    """The effective configuration and where each value is from."""


@desk_command(
    "show",
    example=(
        "scalpdesk config show",
        "scalpdesk config show gamma-scalper --set hedge.band=zakamouline --json",
    ),
    group=config,
)
@click.argument("strategy", default=DEFAULT_STRATEGY)
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@settings_options
def show(
    *, as_json: bool, strategy: str, changed: bool, config_file: str | None, overrides: tuple[str, ...]
) -> None:
    """Show every value with its source; keys are masked."""
    loaded = settings_from(config_file, overrides, strategy)
    rows = [
        {"key": key, "value": value, "source": loaded.sources[key]}
        for key, value in ((dotted(path), value) for path, value in leaves(loaded.effective()))
        if not changed or loaded.sources[key] != "default"
    ]
    if as_json:
        print_json(
            {
                "strategy": strategy,
                "config_file": str(loaded.config_file) if loaded.config_file else None,
                "config_hash": loaded.config_hash,
                "values": rows,
            }
        )
        return
    table = new_table("key", "value", "source", text=("value", "source"))
    for row in rows:
        table.add_row(str(row["key"]), shown(row["value"]), str(row["source"]))
    print_table(table)
    click.echo(f"\n{_described(loaded)}; configuration {loaded.config_hash[:12]}")


@desk_command(
    "check", example=("scalpdesk config check", "scalpdesk config check --config desk.toml"), group=config
)
@click.argument("strategy", default=DEFAULT_STRATEGY)
@settings_options
def check(*, as_json: bool, strategy: str, config_file: str | None, overrides: tuple[str, ...]) -> None:
    """Check every key and value; exit 2 names all that are wrong."""
    loaded = settings_from(config_file, overrides, strategy)
    try:  # what only the parts themselves can check: a band's own settings, the name of a fill model
        find_strategy(strategy).build(loaded.strategy_config)
        simulation = loaded.config.simulation
        for name in (simulation.fill_model, simulation.fill_model_hedge or simulation.fill_model):
            fill_model(name)
    except ConfigError as error:
        raise loaded.located(error) from error
    changed = {key: source for key, source in loaded.sources.items() if source != "default"}
    if as_json:
        print_json(
            {
                "ok": True,
                "config_file": str(loaded.config_file) if loaded.config_file else None,
                "set": changed,
                "config_hash": loaded.config_hash,
            }
        )
        return
    click.echo(f"ok: {_described(loaded)}, {len(changed)} keys set")


def _described(loaded: LoadedSettings) -> str:
    return f"file {loaded.config_file.name}" if loaded.config_file else "no configuration file: defaults"


SECTION_COMMENTS = {
    "desk": "Where runs are kept, and which account trades.",
    "data": "The catalogue of recorded market data (scalpdesk data import ...).",
    "simulation": "The simulated venue: fill_model is cross, mid, queue or adverse; fees are none or alpaca.",
    "marketdata": "Quotes older than this open nothing.",
    "gex": "Dealer gamma exposure: where it comes from, and when it is too old.",
    "risk": "Limits that every order passes; no limit can be switched off with 0.",
    "venue": "The venue of scalpdesk run: address, feeds, limits, times; options given to run win.",
    "rates": "Interest rates as fractions a year, continuously compounded.",
    f"strategies.{DEFAULT_STRATEGY}": "The gamma scalper.",
}
HEADER = """\
# Configuration of scalpdesk. Lines starting with # show the default of every key.
# Sources, later wins: defaults, this file, .env, environment (SCALPDESK_SECTION__KEY), --set KEY=VALUE.
# See what is in force:  scalpdesk config show
"""
DOTENV_EXAMPLE = """\
# Copy to .env and fill in. Keep it to yourself: chmod 600 .env, and never commit it.
IS_PAPER_TRADING=true
TRADING_API_KEY=
TRADING_API_SECRET=

# Any other setting can stand here too:
# HEDGING_ASSET=SPY
# HEDGING_DELTA_THRESHOLD=2.0
# SCALPDESK_SIMULATION__LATENCY_MS=50
"""
PRIVATE = 0o600


@desk_command("init", example=("scalpdesk init", "scalpdesk init --yes --force"))
@click.option("--yes", is_flag=True, help="Ask nothing; take the defaults.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
def init(*, as_json: bool, yes: bool, force: bool) -> None:
    """Write scalpdesk.toml with every key explained by its default, and .env.example.

    On a terminal it asks for the few values that most desks change, and for the keys of a paper
    account, which go to .env (readable by you alone).
    """
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
            "there is nobody to ask: this is not a terminal",
            where="scalpdesk init",
            fix="scalpdesk init --yes",
        )
    answers, keys = ({}, {}) if yes or as_json else _ask(dotenv_path)
    config_path.write_text(toml_text(answers), encoding="utf-8")
    example_path.write_text(DOTENV_EXAMPLE, encoding="utf-8")
    written = [config_path.name, example_path.name]
    if keys:
        _write_private(dotenv_path, "".join(f"{name}={value}\n" for name, value in keys.items()))
        written.append(dotenv_path.name)
    if dotenv_path.exists():
        dotenv_path.chmod(PRIVATE)
    if as_json:
        print_json({"written": written, "folder": str(folder)})
        return
    click.echo(f"written: {', '.join(written)}\nnext: scalpdesk config check, then scalpdesk demo")


def _ask(dotenv_path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Ask for what most desks change; return settings by dotted key, and keys for ``.env``."""
    strategy = f"strategies.{DEFAULT_STRATEGY}"
    answers: dict[str, Any] = {
        f"{strategy}.underlying": click.prompt("Underlying", default="SPY"),
        f"{strategy}.straddles": click.prompt("Straddles", default=1, type=click.IntRange(min=1)),
        "simulation.starting_cash": str(
            click.prompt("Starting cash of the simulated account, USD", default=100_000, type=int)
        ),
        "simulation.fees": click.prompt("Fees", default="none", type=click.Choice(["none", "alpaca"])),
    }
    keys: dict[str, str] = {}
    if not dotenv_path.exists() and click.confirm(
        "Store the keys of a paper account in .env?", default=False
    ):
        keys["IS_PAPER_TRADING"] = "true"
        keys["TRADING_API_KEY"] = click.prompt("Key", hide_input=True)
        keys["TRADING_API_SECRET"] = click.prompt("Secret", hide_input=True)
    return answers, keys


def _write_private(path: Path, text: str) -> None:
    """Create the file readable by its owner alone before anything is in it."""
    path.touch(mode=PRIVATE)
    path.chmod(PRIVATE)
    path.write_text(text, encoding="utf-8")


def toml_text(answers: dict[str, Any]) -> str:
    """Return the configuration file: every key with its default as a comment, ``answers`` set.

    Parameters
    ----------
    answers
        Values by dotted key.
    """
    tree = load_settings(DEFAULT_STRATEGY, cwd=Path("/nonexistent")).effective()
    tree.pop("credentials")  # keys belong in .env
    strategies = tree.pop("strategies")
    lines = [HEADER]
    for name, section in tree.items():
        lines += _section_lines(name, section, answers)
    for name, section in strategies.items():
        lines += _section_lines(f"strategies.{name}", section, answers)
    return "\n".join(lines)


def _section_lines(name: str, section: dict[str, Any], answers: dict[str, Any]) -> list[str]:
    lines = [f"# {SECTION_COMMENTS[name]}"] if name in SECTION_COMMENTS else []
    lines.append(f"[{name}]")
    tables = {key: value for key, value in section.items() if isinstance(value, dict) and value}
    for key, default in section.items():
        if key in tables:
            continue
        path = f"{name}.{key}"
        if path in answers:
            lines.append(f"{key} = {toml_value(answers[path])}")
        elif default is None:
            lines.append(f"# {key} =     (not set)")
        else:
            lines.append(f"# {key} = {toml_value(default)}")
    lines.append("")
    for key, table in tables.items():
        lines += _section_lines(f"{name}.{key}", table, answers)
    return lines


def toml_value(value: Any) -> str:
    """Return a plain value as TOML writes it."""
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value)
