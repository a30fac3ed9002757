"""Options of ``scalpdesk run``: a struct that its flags and :func:`scalpdesk.live.plan.plan_of` share."""

from datetime import date
from typing import Annotated, Literal

from scalpdesk.core.clock import pace_of
from scalpdesk.core.flags import Flag, Options, QuotesOption
from scalpdesk.datasets.embedded import EMBEDDED, USUAL_DAY
from scalpdesk.venues.registry import DEFAULT_VENUE, venue_names

_SIMULATED_SPEED = 60.0
SANDBOX = "sandbox"
"""The venue of live quotes and simulated fills."""
SIMULATED_ACCOUNTS = ("simulated", SANDBOX)
"""Venues whose account is the one that the settings open: it lives and ends with the desk."""
_FORMER_NAMES = {"paper": SANDBOX}
"""Names under which a venue was known: on the command line, and in the journals of that time."""


def places() -> tuple[str, ...]:
    """Return what ``--venue`` takes."""
    return (*SIMULATED_ACCOUNTS, *_FORMER_NAMES, *venue_names())


def venue_name(name: str) -> str:
    """Return a venue's name for one that it may have gone by."""
    return _FORMER_NAMES.get(name, name)


class RunOptions(Options, frozen=True, kw_only=True):
    """Where a desk trades, and how it begins and ends; None takes what the section ``[venue]`` has."""

    venue: Annotated[
        str | None,
        Flag(f"Where it trades [default: simulated; with --live {DEFAULT_VENUE}].", choices=places),
    ] = None
    live: Annotated[bool, Flag("Trade real money; first type scalpdesk arm.")] = False
    resume: Annotated[bool, Flag("Continue the run that did not end.")] = False
    resume_if_any: Annotated[bool, Flag("Continue the run that did not end, or begin one.")] = False
    new_run: Annotated[bool, Flag("Begin a new run beside one that did not end.")] = False
    url: Annotated[str | None, Flag("Trade at the simulated exchange at URL.", "URL")] = None
    exchange_time: Annotated[
        bool | None,
        Flag(
            "Take the time from the exchange at --url, or from this machine [venue.exchange_time].",
            name="--exchange-time/--wall-time",
        ),
    ] = None
    on_stop: Annotated[
        Literal["leave", "hold", "flatten"] | None,
        Flag("At Ctrl-C: leave all, hold (cancel orders), or flatten (close all) [venue.on_stop]."),
    ] = None
    sessions: Annotated[int | None, Flag("Stop after N market closes.", least=1)] = None
    contracts: Annotated[int | None, Flag("Number of options [venue.contracts].", least=2)] = None
    watchdog: Annotated[
        bool | None,
        Flag(
            "A second process cancels the orders of a dead desk [venue.watchdog].",
            name="--watchdog/--no-watchdog",
        ),
    ] = None
    watchdog_flatten: Annotated[
        bool | None,
        Flag(
            "The watchdog also closes the positions of a dead desk [venue.watchdog_flatten].",
            name="--watchdog-flatten/--watchdog-hold",
        ),
    ] = None
    foreign_orders: Annotated[
        Literal["cancel", "leave"],
        Flag("The watchdog cancels or leaves open orders that this run did not send."),
    ] = "cancel"
    start: Annotated[date | None, Flag(f"Simulated venue: first day [{USUAL_DAY}].", "DATE")] = None
    data_set: Annotated[str, Flag("Simulated venue: data set.", name="--data")] = EMBEDDED
    quality: QuotesOption = None
    speed: Annotated[
        str | None, Flag(f"Simulated venue: X times as fast [{_SIMULATED_SPEED:g}].", "X|max")
    ] = None

    @property
    def place(self) -> str:
        """Venue as it is named today; without one simulated, or the usual one for real money."""
        return venue_name(self.venue or (DEFAULT_VENUE if self.live else "simulated"))

    @property
    def pace(self) -> float | None:
        """Market seconds a second of the simulated venue; None: as fast as it goes."""
        return pace_of(self.speed, _SIMULATED_SPEED)
