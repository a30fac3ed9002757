"""Files of a run through which its watcher and the pages speak of its alerts, and what an alert is about."""

from enum import StrEnum

STATE_FILE = "alerts.json"
"""In the folder of a run that a watcher sends alerts of: those open, and the latest that were sent."""
ACKNOWLEDGED_FILE = "alerts.ack"
"""Beside it: one line for each acknowledgement, key and who, from any process that may write there."""


class Topic(StrEnum):
    """Subject of an alert, where that decides how it is shown or sent."""

    MODE = "mode"
    """The desk's mode, or that it is gone: the page shows it in any case."""
    SUMMARY = "summary"
    """The account of a session."""
    OTHER = "other"
