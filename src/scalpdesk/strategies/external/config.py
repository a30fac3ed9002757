"""Every setting of the external strategy, with its unit and default."""

from typing import Annotated, Literal

import msgspec

from scalpdesk.core.errors import ConfigError

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class ExternalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of a strategy folder.

    Parameters
    ----------
    folder
        The folder with ``strategy.py``; ``--strategy DIR`` on the command line.
    underlying
        What the run is on.
    quantity_unit
        What a quantity of an option means to the folder: ``contracts``, or ``shares`` of the underlying
        that they stand for (contracts times their multiplier).
    chain_contracts
        Options not held that are shown as well: so many of the nearest expiry, nearest the money.
    shares_as_position
        Show the shares, held and on their way, as a position with a delta of one (``delta`` and
        ``quantity`` in the underlying's events): the folder's count of its hedge is then the desk's.
    price_change_usd, heartbeat_seconds
        The folder sees the market when the underlying has moved by this much, or after this silence.
    max_age_seconds
        Intents that come later than this after their event are refused; a request without an answer
        for as long is given up (STRATEGY_EVENT_MAX_AGE_SECONDS).
    order_ttl_seconds
        An order that has not been filled by then is cancelled; none leaves it to its time in force.
    isolate
        Run the folder in a process of its own; without, its endless loop is the desk's.
    time_limit_seconds
        For one event.
    memory_limit_mb
        Address space of its process in MiB; 0 sets no limit.
    """

    folder: str = ""
    underlying: str = "SPY"
    quantity_unit: Literal["contracts", "shares"] = "contracts"
    chain_contracts: Count = 0
    shares_as_position: bool = False
    price_change_usd: Positive = 0.05
    heartbeat_seconds: Positive = 5.0
    max_age_seconds: Positive = 30.0
    order_ttl_seconds: Positive | None = None
    isolate: bool = True
    time_limit_seconds: Positive = 1.0
    memory_limit_mb: Count = 2_048


def no_folder_given() -> ConfigError:
    """Return the refusal of a run that is to ask a folder and has none."""
    return ConfigError(
        "no strategy folder is given",
        where="strategies.external.folder",
        value="",
        fix="--set folder=DIR, or --strategy DIR with backtest and run",
    )
