"""``scalpdesk config``: what the desk would run with, and where each value comes from."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import DeskGroup, desk_command, settings_options
from scalpdesk.cli.output import console, print_json
from scalpdesk.core.errors import ConfigError
from scalpdesk.settings import LoadedSettings, load_settings
from scalpdesk.simulation.fills import fill_model
from scalpdesk.strategies.base import find_strategy

DEFAULT_STRATEGY = "gamma-scalper"


@click.group("config", cls=DeskGroup, context_settings={"help_option_names": ["-h", "--help"]})
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
    loaded = _load(strategy, config_file, overrides)
    rows = [
        {"key": key, "value": value, "source": loaded.sources[key]}
        for key, value in flat(loaded.effective())
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
    from rich.table import Table

    table = Table("key", "value", "source", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(str(row["key"]), shown(row["value"]), str(row["source"]))
    console().print(table)
    click.echo(f"\n{_described(loaded)}; configuration {loaded.config_hash[:12]}")


@desk_command(
    "check", example=("scalpdesk config check", "scalpdesk config check --config desk.toml"), group=config
)
@click.argument("strategy", default=DEFAULT_STRATEGY)
@settings_options
def check(*, as_json: bool, strategy: str, config_file: str | None, overrides: tuple[str, ...]) -> None:
    """Check every key and value; exit 2 names all that are wrong."""
    loaded = _load(strategy, config_file, overrides)
    try:  # what only the parts themselves can check: a band's own settings, the name of a fill model
        build: Callable[[Any], object] = find_strategy(strategy)
        build(loaded.strategy_config)
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


def _load(strategy: str, config_file: str | None, overrides: tuple[str, ...]) -> LoadedSettings:
    return load_settings(
        strategy, config_file=config_file, overrides=overrides, environ=os.environ, cwd=Path.cwd()
    )


def _described(loaded: LoadedSettings) -> str:
    return f"file {loaded.config_file.name}" if loaded.config_file else "no configuration file: defaults"


def flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of a tree of settings as (dotted key, value); empty tables are leaves."""
    rows: list[tuple[str, Any]] = []
    for key, value in tree.items():
        path = f"{prefix}{key}"
        rows += flat(value, f"{path}.") if isinstance(value, dict) and value else [(path, value)]
    return rows


def shown(value: object) -> str:
    """Return a value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
