"""What a recorded or reconstructed market lets the desk know of dealer gamma, and when."""

from pathlib import Path

from scalpdesk.core.events import GammaExposureEvent
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.regime.exposure_history import ExposureHistory
from scalpdesk.regime.exposure_settings import ExposureSettings
from scalpdesk.regime.exposure_source import Say, by_hand
from scalpdesk.signals.chain_exposure import exposure_events


def tape_words(
    tape: MarketTape,
    settings: ExposureSettings,
    value_by_hand: str | None,
    *,
    is_read: bool,
    history_folder: Path | None = None,
    say: Say | None = None,
) -> tuple[GammaExposureEvent, ...]:
    """Return the events on dealer gamma of a run over a tape, in order.

    Parameters
    ----------
    tape
        The market.
    settings
        Where the exposure comes from.
    value_by_hand
        Text that a person set; it wins, and is told at the open of each session.
    is_read
        Whether the strategy reads the exposure; if not, none is computed from the chain.
    history_folder
        Folder of the exposures of earlier sessions; None without.
    say
        Told once when the value set by hand is not a number.

    Returns
    -------
    tuple of GammaExposureEvent
        Each stamped with the instant at which it may be known.
    """
    if value_by_hand is not None:
        words = tuple(by_hand(value_by_hand, settings.symbol, one.open_ns) for one in tape.sessions)
        if words and words[0].reason and say is not None:
            what = f"dealer gamma of {settings.symbol} is not known: {words[0].reason}"
            say("warning", f"{what}; the standard threshold is used")
        return words
    if not (is_read and settings.from_chain):
        return ()
    usual = (float("nan"), float("nan"))
    if history_folder is not None:
        history = ExposureHistory(history_folder, tape.name, tape.underlying)
        usual = history.usual(tape.sessions[0].day)
    return tuple(exposure_events(tape, every_seconds=60.0 * settings.chain_minutes, usual_usd=usual))
