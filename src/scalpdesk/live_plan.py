"""What a live run is to be: the plan that gateway, journal and runner are built from."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from scalpdesk.live.runner import RunnerOptions
from scalpdesk.settings import LoadedSettings

MOST_CONTRACTS = 200
"""Options that a live run knows unless told otherwise: what a basic market data plan streams at once."""


@dataclass(frozen=True, slots=True)
class LivePlan:
    """What a live run is to be.

    Parameters
    ----------
    settings
        The configuration, with the strategy.
    venue
        ``simulated`` or ``alpaca``.
    live
        Real money; only when armed.
    resume
        Go on with the account's unfinished run.
    set_aside
        Begin a new run although one is unfinished.
    url
        Address of a simulated exchange that speaks the venue's protocol; None for the venue itself.
    contracts
        Most options that the run knows.
    runner
        Times of the loop and what is done at the end.
    session, data, pace
        Of the simulated venue: the day, the data set, market seconds a second (None: in step).
    state
        Machine-wide folder of locks and armings; None takes the user's own.
    """

    settings: LoadedSettings
    venue: str = "simulated"
    live: bool = False
    resume: bool = False
    set_aside: bool = False
    url: str | None = None
    contracts: int = MOST_CONTRACTS
    runner: RunnerOptions = field(default_factory=RunnerOptions)
    session: date | None = None
    data: str = "embedded"
    pace: float | None = None
    state: Path | None = None
    follows_venue: bool = False
    """The desk's time is the venue's: for a simulated exchange with a time of its own."""

    @property
    def trading(self) -> str:
        """``live``, ``paper`` or ``simulated``."""
        if self.venue == "simulated":
            return "simulated"
        return "live" if self.live else "paper"

    @property
    def runs_dir(self) -> Path:
        """Folder of the runs."""
        return Path(self.settings.config.desk.runs_dir)
