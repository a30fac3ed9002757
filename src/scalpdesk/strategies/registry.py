"""Strategies by name: the product's own, installed plug-ins, and several joined by ``+``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec

from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.core.plugins import resolved
from scalpdesk.core.sockets import STRATEGIES
from scalpdesk.strategies.contract import Answerer, HedgeTerms, Helper, Strategy, StrategySpec
from scalpdesk.strategies.several.strategy import Several, SeveralConfig, SharedConfig

SEVERAL = "+"
"""Between the names of strategies that share a desk: ``st0cka+gamma-scalper``."""
_LABEL = "@"
"""Before the label of a strategy with settings of its own: ``gamma-scalper@wings``."""
_GAMMA_EXAMPLE = "gamma-scalper@wings"


def strategy_names() -> tuple[str, ...]:
    """Return the names of all strategies, the product's own and installed plug-ins, sorted."""
    return STRATEGIES.names()


def find_strategy(name: str) -> StrategySpec:
    """Return a strategy's spec by its name (``gamma-scalper``; underscores are read as hyphens).

    Names joined by ``+`` give the spec that runs all of them in one desk.

    Raises ConfigError when the name is unknown (names the nearest), or a package brings no StrategySpec.
    """
    wanted = canonical_name(name)
    if SEVERAL in wanted:
        return _joined(wanted)
    if _LABEL in wanted:
        return _labelled(wanted)
    spec = STRATEGIES.find_spec(StrategySpec, _spelt(wanted) or wanted)
    return combined(spec, [find_strategy(member) for member in spec.members]) if spec.members else spec


def _helpers(strategy: str, sections: Mapping[str, Any]) -> Iterator[tuple[Helper, Any]]:
    """Yield the helper of each strategy of a run that has one, with its settings."""
    for name in member_names(strategy):
        spec = find_strategy(name)
        if spec.helper:
            yield resolved(spec.helper), msgspec.convert(sections.get(name, {}), spec.config, strict=False)


def helper_facts(strategy: str, sections: Mapping[str, Any]) -> dict[str, str]:
    """Return what a run's header says of what its strategy asks; settings are plain data by strategy.

    Raises ConfigError when it cannot be read.
    """
    found: dict[str, str] = {}
    for helper, config in _helpers(strategy, sections):
        found |= helper.facts(config)
    return found


def start_helper(strategy: str, sections: Mapping[str, Any], runs_dir: Path) -> Answerer | None:
    """Start what a run's strategy asks; None where it asks for nothing.

    Raises ConfigError when it cannot be started, or several strategies of the run ask.
    """
    found = list(_helpers(strategy, sections))
    if len(found) > 1:
        raise ConfigError(
            "one strategy of a run asks for the answers of other code",
            where="strategy",
            value=strategy,
            fix="run each of them as a desk of its own",
        )
    return found[0][0].start(found[0][1], runs_dir) if found else None


def member_names(name: str) -> tuple[str, ...]:
    """Return the strategies that a run of this name is made of.

    Raises ConfigError when there is no such strategy.
    """
    return find_strategy(name).members or (canonical_name(name),)


def canonical_name(name: str) -> str:
    """Return the name of a strategy's spec for any of its spellings and aliases.

    >>> canonical_name("gamma_scalping"), canonical_name("ST0CKA")
    ('gamma-scalper', 'st0cka')
    """
    found = []
    for word in name.split(SEVERAL):
        plain, at, label = _hyphened(word).partition(_LABEL)
        found.append((plain if _spelt(plain) else _aliases().get(plain, plain)) + at + label)
    return SEVERAL.join(found)


def combined(spec: StrategySpec, members: Sequence[StrategySpec]) -> StrategySpec:
    """Return the spec of a strategy with members: it needs what any of them needs."""

    def of(name: str) -> Callable[[Any], list[Any]]:
        """Return what says something of each member by its own settings."""
        return lambda shared: [getattr(item, name)(shared.members[item.name]) for item in members]

    flags: dict[str, tuple[str, ...]] = {}
    for item in members:
        for flag, settings in item.flags.items():
            flags[flag] = (*flags.get(flag, ()), *(f"strategies.{item.name}.{each}" for each in settings))
    return msgspec.structs.replace(
        spec,
        flags=flags,
        demo_settings=tuple(
            f"strategies.{item.name}.{setting}" for item in members for setting in item.demo_settings
        ),
        trades_options=any(item.trades_options for item in members),
        reads_dealer_gamma=lambda shared: any(of("wants_dealer_gamma")(shared)),
        hedge_of=lambda shared: _shared_hedge(of("hedge_of")(shared)),
        trades_underlying=lambda shared: any(of("trades_underlying")(shared)),
        sells_contracts=lambda shared: sum(of("sells_contracts")(shared)),
        options_level=lambda shared: max(of("options_level")(shared)),
        chosen_expiry=lambda shared: next(filter(None, of("chosen_expiry")(shared)), None),
        reads_option_volume=any(item.reads_option_volume for item in members),
        reads_iv_rank=any(item.reads_iv_rank for item in members),
        history_sessions=lambda shared: max(of("history_sessions")(shared)),
        expiry_days=next(
            (
                lambda shared, item=item, days=item.expiry_days: days(shared.members[item.name])
                for item in members
                if item.expiry_days is not None
            ),
            None,
        ),
    )


def _shared_hedge(terms: Sequence[HedgeTerms | None]) -> HedgeTerms | None:
    """Return what the members hedge with: all of those that name an instrument name the same one."""
    named = {each for each in terms if each is not None}
    if len(named) > 1:
        raise ConfigError(
            "strategies that share a desk hedge with one instrument",
            where="hedge.instrument",
            value=", ".join(sorted(each.symbol for each in named)),
            fix="give all of them the same hedge.instrument and hedge.beta",
        )
    return next(iter(named), None)


def bound_config(
    strategy: str, configs: Mapping[str, Any], budgets: Mapping[str, Decimal], adopts: str | None
) -> Any:
    """Return what a spec's ``build`` takes: its own settings, or the shared settings of its members.

    ``strategy``: Its name.
    ``configs``: Settings by name, of the strategy and of all of its members.
    ``budgets``: Share of the equity by strategy (``[budgets.fractions]``).
    ``adopts``: Member that takes over the account's positions at the start.
    Raises ConfigError when a budget names no strategy, or the budgets do not fit.
    """
    spec = find_strategy(strategy)
    if not spec.members:
        return configs[strategy]
    given = {canonical_name(name): share for name, share in budgets.items()}
    for name in given:
        if name not in spec.members and name not in strategy_names():
            raise ConfigError(
                "no strategy has this name",
                where=f"budgets.fractions.{name}",
                value=name,
                nearest=nearest_name(name, spec.members),
                fix=f"name one of {', '.join(spec.members)}",
            )
    members = [find_strategy(name) for name in spec.members]
    return SharedConfig(members, configs, given, adopts, own=configs.get(strategy))


def _labelled(name: str) -> StrategySpec:
    """Return the spec of a strategy under a label: its settings, book and orders go by the whole name."""
    plain, _, label = name.partition(_LABEL)
    spec = find_strategy(plain)
    if not label or not label.replace("-", "").isalnum() or spec.members:
        raise ConfigError(
            "a label is of letters, digits and hyphens, behind the name of a single strategy",
            where="strategy",
            value=name,
            fix=f"write it as {_GAMMA_EXAMPLE}",
        )

    def build(config: Any) -> Strategy:
        strategy: Any = spec.build(config)
        strategy.name = name
        return cast("Strategy", strategy)

    return msgspec.structs.replace(spec, name=name, build=build, aliases=())


def _joined(name: str) -> StrategySpec:
    names = name.split(SEVERAL)
    members = [find_strategy(item) for item in names]
    if len(set(names)) < len(names) or any(item.members for item in members):
        raise ConfigError(
            "strategies that share a desk differ, and each is a single strategy",
            where="strategy",
            value=name,
            fix=f"name each strategy once, or with labels, as {_GAMMA_EXAMPLE}",
        )
    summary = f"{', '.join(names)} in one desk"
    return combined(
        StrategySpec(
            name=name, config=SeveralConfig, build=Several.build, summary=summary, members=tuple(names)
        ),
        members,
    )


def _spelt(name: str) -> str | None:
    """Return a name as its package spells it, from its hyphened form; None for no strategy's."""
    if STRATEGIES.is_own(name):
        return name
    return next((each for each in STRATEGIES.names() if _hyphened(each) == name), None)


def _aliases() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in STRATEGIES.names():
        with suppress(ConfigError):  # a package's strategy that is refused has no other names
            spec = STRATEGIES.find_spec(StrategySpec, name)
            found |= dict.fromkeys(spec.aliases, spec.name)
    return found


def _hyphened(name: str) -> str:
    return name.strip().lower().replace("_", "-")
