"""Which strategy a command is about, and the flags that earlier programs had for it.

``run_st0ck.py st0cka --volatility-off`` is ``scalpdesk run st0cka --volatility-off``: a flag stands for
settings that the strategy's spec names in ``flags``.
"""

from collections.abc import Mapping
from functools import wraps
from typing import Annotated, Any

import click

from scalpdesk.cli.command import Body, settings_from, typed_command
from scalpdesk.cli.flags import options
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.flags import Flag, Options

folder_option = click.option("--strategy", "folder", metavar="DIR", help="Folder of strategy.py (external).")


class _StrategyFlags(Options, frozen=True, kw_only=True):
    """Flags whose settings are the strategy's to say, its ``structure``, and its underlyings."""

    volatility_off: Annotated[
        bool, Flag("Constant size and target, whatever the volatility (st0cka, hybrid).")
    ] = False
    mean_reversion: Annotated[
        bool,
        Flag("Buy only what has fallen far below its VWAP (st0cka, hybrid)."),
    ] = False
    structure: Annotated[
        str | None,
        Flag(
            "Shape that is traded: straddle, strangle, iron_fly, calendar … (gamma-scalper).",
            "NAME",
            key="structure.shape",
        ),
    ] = None
    side: Annotated[
        str | None, Flag("long buys the shape, short sells it.", "SIDE", key="structure.side")
    ] = None
    right: Annotated[
        str | None, Flag("call or put, for shapes of one right.", "RIGHT", key="structure.right")
    ] = None
    body: Annotated[
        str | None,
        Flag("Where inner legs stand: 25d, 1.5sd, 2%, 5 or 1.20p.", "DISTANCE", key="structure.body"),
    ] = None
    wing: Annotated[
        str | None, Flag("Where outer legs stand, likewise.", "DISTANCE", key="structure.wing")
    ] = None
    symbols: Annotated[
        str | None,
        Flag("Underlyings, the main one first; each is traded for itself.", "SYMBOL,..."),
    ] = None


def strategy_flags(body: Body) -> Body:
    """Resolve the strategy's name and add the flags.

    The function below is called with ``strategy`` as the desk names it (STRATEGY_MODE where none was
    given) and with the flags' settings in front of ``overrides``, so that ``--set`` wins over them.
    """

    @options(_StrategyFlags, "flags")
    @wraps(body)
    def resolved(
        *,
        strategy: str | None,
        config_file: str | None,
        overrides: tuple[str, ...],
        flags: _StrategyFlags,
        **rest: Any,
    ) -> int | None:
        chosen = choose_strategy(strategy, config_file)
        given = {"--volatility-off": flags.volatility_off, "--mean-reversion": flags.mean_reversion}
        settings = [*flag_settings(chosen, given)]
        if flags.symbols is not None:
            settings.append(f"underlying={flags.symbols.upper().replace(' ', '')}")
        overrides = (*settings, *flags.overrides(), *overrides)
        return body(strategy=chosen, config_file=config_file, overrides=overrides, **rest)

    return resolved


def choose_strategy(given: str | None, config_file: str | None) -> str:
    """Return the name of the strategy that was given, or that the configuration has for a default.

    Raises ConfigError when neither names a strategy, or the name is unknown.
    """
    from scalpdesk.strategies.registry import canonical_name, find_strategy, strategy_names

    if given is None:
        given = settings_from(config_file).config.desk.strategy_mode
        if given is None:
            raise ConfigError(
                "which strategy?",
                where="STRATEGY",
                fix=f"name one of {', '.join(strategy_names())}, or set STRATEGY_MODE (desk.strategy_mode)",
            )
    try:
        find_strategy(given)
    except ConfigError as error:
        from scalpdesk.config.traders_words import name_meant
        from scalpdesk.entry.shapes import SHAPES

        meant = name_meant("strategy", given, SHAPES)
        if meant is None:
            raise
        fix = f"{typed_command().replace(given, meant, 1)}; {error.fix}"
        raise ConfigError(
            error.what, where=error.where, value=given, nearest=meant.split()[0], fix=fix
        ) from None
    return canonical_name(given)


def flag_settings(strategy: str, given: Mapping[str, bool]) -> tuple[str, ...]:
    """Return the settings (``KEY=VALUE``) that the flags given stand for.

    Raises ConfigError when the strategy has no such flag; names those that have.
    """
    from scalpdesk.strategies.registry import find_strategy, strategy_names

    def flags_of(name: str) -> Mapping[str, tuple[str, ...]]:
        return find_strategy(name).flags

    settings: list[str] = []
    for flag, is_given in given.items():
        if not is_given:
            continue
        meant = flags_of(strategy).get(flag)
        if meant is None:
            having = [name for name in strategy_names() if flag in flags_of(name)]
            raise ConfigError(
                "this strategy has no such flag",
                where=flag,
                value=strategy,
                fix=f"leave it out; strategies that have it: {', '.join(having)}",
            )
        settings += meant
    return tuple(settings)


def folder_overrides(strategy: str, folder: str | None, overrides: tuple[str, ...]) -> tuple[str, ...]:
    """Return the overrides with a strategy folder of ``--strategy DIR`` among them.

    Raises ConfigError when the strategy asks no folder.
    """
    if folder is None:
        return overrides
    if "external" not in strategy.split("+"):
        raise ConfigError(
            "only the strategy external asks a folder",
            where="--strategy",
            value=folder,
            fix=f"backtest or run external --strategy {folder}",
        )
    return (*overrides, f"strategies.external.folder={folder}")
