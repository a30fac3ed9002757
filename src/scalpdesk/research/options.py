"""Options of a sweep: flags of commands, and part of a :class:`~scalpdesk.research.sweep_plan.SweepPlan`."""

from typing import Annotated, Literal

from scalpdesk.core.flags import Flag, Options

_EngineName = Literal["local", "ray"]


class Workers(Options, frozen=True, kw_only=True):
    """Processes that share the backtests."""

    workers: Annotated[int | None, Flag("Processes [default: one a core].", least=1, most=256)] = None


class SweepOptions(Workers, frozen=True, kw_only=True):
    """Engine and search of a sweep."""

    engine: Annotated[_EngineName, Flag("Processes of this machine, or a Ray cluster (extra ray).")] = "local"
    address: Annotated[
        str | None,
        Flag(
            "--engine ray: a running cluster, auto or HOST:PORT [default: start one here].",
            "ADDRESS",
        ),
    ] = None
    search: Annotated[
        int | None,
        Flag(
            "N backtests proposed by Optuna (extra search) in place of every combination.",
            "N",
            least=1,
            most=1_000_000,
        ),
    ] = None
    search_seed: Annotated[int, Flag("Seed of the search's proposals.")] = 1
    no_stop: Annotated[bool, Flag("With --search: run every backtest to its end.")] = False
