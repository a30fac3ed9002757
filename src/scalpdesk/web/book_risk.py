"""Risk of the followed book for the Position page: computed beside the requests, once for each version.

A version is what is held, where its underlyings stand, and the minute. A request waits for a short while, and
otherwise gets the last risk of the same holdings, marked as not current.
"""

import math
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from scalpdesk.core.errors import ScalpdeskError
from scalpdesk.core.units import MINUTE_NS
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.monitor import answers
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.held_book import held_book, worst_of
from scalpdesk.portfolio.risk_book import LowestCell, RiskBook
from scalpdesk.report.figures import json_safe
from scalpdesk.research.book_risk import JointMoves, past_moves, risk_document
from scalpdesk.web.feed import DeskFeed

_WAIT_SECONDS = 2.0
"""Longest wait of a request for a risk that is being computed."""
_SPOT_STEP = 0.0005
"""Part of its price by which an underlying moves before the risk is computed again."""


_KeptRisk = tuple[tuple[Any, ...], answers.BookRisk]
"""Run with its holdings, and their risk."""


class RiskKeeper:
    """Keeps the newest risk of a feed's book, and computes the next in a thread of its own."""

    def __init__(self, feed: DeskFeed) -> None:
        self._feed = feed
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "risk")
        self._key: tuple[Any, ...] | None = None
        self._running: Future[_KeptRisk] | None = None
        self._last: _KeptRisk | None = None

    def stop(self) -> None:
        """Compute nothing more."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def answer(self) -> answers.BookRisk | answers.Empty | None:
        """Return the risk of the book that is held now; None where no run is followed."""
        with self._feed.lock:
            follower = self._feed.follower
            if follower is None:
                return None
            book, worst = held_book(follower), worst_of(follower)
            if book is None:
                return answers.Empty(empty=_why_empty(follower))
            run = follower.run_dir.name
            config = {} if follower.header is None else follower.header.config.get("data", {})
            data_set = "" if follower.header is None else str(follower.header.data.get("name", ""))
        held = run, book.holdings
        spots = tuple(round(math.log(part.spot) / _SPOT_STEP) for part in book.parts)
        key = (*held, spots, book.as_of_ns // MINUTE_NS)
        with self._lock:
            if self._running is None or (self._running.done() and self._key != key):
                self._key = key
                self._running = self._worker.submit(_computed, book, worst, held, dict(config), data_set)
            running, is_newest = self._running, self._key == key
        try:
            self._last = running.result(_WAIT_SECONDS)
        except FutureTimeoutError:
            pass
        except ScalpdeskError as error:
            return answers.Empty(empty=f"The risk of the book is not known: {error.what}.")
        last = self._last
        if last is not None and last[0] == held:
            return {**last[1], "current": is_newest and running.done()}
        return answers.Empty(empty="The risk of the book is being computed.")


def _why_empty(follower: RunFollower) -> str:
    if follower.engine is None:
        return follower.unread
    if not follower.desk.positions.held():
        return "Nothing is held. The risk of the book appears here after a fill."
    return "The risk of the book is not known: a held leg has no quote yet."


@lru_cache(maxsize=4)
def _moves(
    symbols: tuple[str, ...],
    catalog: str,
    data_set: str,
    history: str | None,
    before: date,
    is_coin: bool,
) -> tuple[JointMoves | None, tuple[str, ...]]:
    try:
        return past_moves(symbols, Path(catalog), data_set, history=history, before=before, is_coin=is_coin)
    except ScalpdeskError as error:
        return None, (f"no value at risk: {error.what}",)


def _computed(
    book: RiskBook, worst: LowestCell | None, held: tuple[Any, ...], data: dict[str, Any], data_set: str
) -> _KeptRisk:
    symbols = tuple(part.underlying for part in book.parts)
    day = to_new_york(book.as_of_ns).date()
    moves, notes = _moves(
        symbols,
        str(data.get("catalog", "")),
        data_set,
        data.get("daily_history"),
        day,
        book.is_coin,
    )
    return held, risk_answer(str(held[0]), risk_document(book, moves, worst=worst, notes=notes))


def risk_answer(run: str, document: dict[str, Any]) -> answers.BookRisk:
    """Return what a risk document says of the book, as the API gives it."""
    told = {name: document[name] for name in answers.BookRisk.__annotations__ if name in document}
    safe: answers.BookRisk = json_safe({"run": run, "current": True} | told)
    return safe
