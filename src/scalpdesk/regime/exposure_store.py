"""Where dealer gamma exposure may be kept, and in which ways it may fail to be known."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Unknown(StrEnum):
    """Why an exposure is not known. A person is told of each kind once."""

    MALFORMED = "the value set by hand is not a number"
    NO_DOCUMENT = "the document is missing"
    WRONG_TYPE = "the document does not hold what it should"
    NOT_A_NUMBER = "the document's value is not a number"
    STALE = "the last update is too old"
    FUTURE = "the last update is in the future"
    UNREACHABLE = "the store cannot be reached"
    SLOW = "the store does not answer in time"
    DENIED = "the store denies permission"
    REFUSED = "the store refuses the question"
    THIN = "too little of the chain is known"


class ExposureUnknownError(Exception):
    """An exposure is not known; never a reason to stop.

    Parameters
    ----------
    kind
        In which way.
    detail
        The particulars: an address, a type, an age.
    """

    def __init__(self, kind: Unknown, detail: str = "") -> None:
        self.kind = kind
        self.detail = detail
        super().__init__(f"{kind.value} ({detail})" if detail else kind.value)


@dataclass(frozen=True, slots=True)
class StoredExposure:
    """An exposure as it is kept.

    Parameters
    ----------
    symbol
        Underlying whose chain it was computed from.
    exposure_usd
        Change of dealers' delta in USD for a move of 1 %; finite.
    last_update_ns
        When it was computed, UTC nanoseconds.
    """

    symbol: str
    exposure_usd: float
    last_update_ns: int


class ExposureStore(Protocol):
    """Keeps one exposure that others update."""

    name: str
    """``firestore`` …; the source that events name."""

    def read(self) -> StoredExposure:
        """Return what is kept, within a bounded time.

        Raises
        ------
        ExposureUnknownError
            In every way in which it may fail.
        """
        ...
