"""Is this market fit to trade on? What was checked, how much of it, and what was found.

:func:`verify_tape` looks at a market as the desk would see it, recorded or reconstructed;
:func:`verify_data_set` first looks at the files of a data set, then at the tapes made from them.
A hard finding means that results on this data would be wrong; a warning is a figure to know.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.arbitrage import Finding, intrinsic_findings, option_rows, parity_findings
from scalpdesk.datasets.catalog import find_underlying, load_tape
from scalpdesk.datasets.stored_rows import StoredFindings, inspect_files
from scalpdesk.instruments.contract import Index
from scalpdesk.instruments.sessions import from_ns, is_session
from scalpdesk.marketdata.tape import FLAT_ZERO, MarketTape

GAP_INTERVALS = 5
"""An underlying that is silent for more than this many usual intervals has a gap."""


DAY_SECONDS = 86_400
"""Bars of a day make no tape: they are known only when the session is over."""


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One question, how often it was asked, and how often the answer was bad."""

    name: str
    checked: int
    found: int
    verdict: Verdict
    detail: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the check as plain values."""
        return {
            "name": self.name,
            "checked": self.checked,
            "found": self.found,
            "verdict": self.verdict.value,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """All checks on one market."""

    name: str
    underlying: str
    sessions: tuple[date, ...]
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """True when no check failed; warnings are allowed."""
        return all(check.verdict is not Verdict.FAILED for check in self.checks)

    def as_dict(self) -> dict[str, object]:
        """Return the report as plain values."""
        return {
            "name": self.name,
            "underlying": self.underlying,
            "sessions": [day.isoformat() for day in self.sessions],
            "ok": self.ok,
            "checks": [check.as_dict() for check in self.checks],
        }


def verify_tape(tape: MarketTape) -> VerifyReport:
    """Check a market in memory.

    Time order, instruments, prices and sizes, crossed, locked and one-sided quotes, duplicates,
    session times, gaps of the underlying, prices below intrinsic value, put-call parity. Crossed
    quotes, unsorted time, unknown instruments and impossible prices are hard.
    """
    quotes, total = tape.quotes, len(tape.quotes)
    backward = int((np.diff(quotes.ts_ns) < 0).sum())
    unknown = (quotes.instrument_id < 0) | (quotes.instrument_id >= len(tape.instruments))
    checks = [
        _hard("time never runs backward", total, backward),
        _hard("instruments are in the book", total, int(unknown.sum())),
        _hard("prices and sizes are possible", total, _impossible(tape)),
        _hard("quotes not crossed", *_crossed(tape)),
    ]
    if bool(unknown.any()):
        return VerifyReport(tape.name, tape.underlying, tuple(s.day for s in tape.sessions), tuple(checks))
    checks.extend(
        (
            _soft("quotes not locked", *_locked(tape)),
            _soft("both sides quoted", total, *_one_sided(tape)),
            _soft("one row an instrument and instant", total, _duplicates(tape)),
            _soft("rows inside session times", total, *_outside_sessions(tape)),
            _soft("underlying without gaps", *_gaps(tape)),
        )
    )
    rows = option_rows(tape)
    if rows is not None:
        assumed = "; no rates known, zero assumed" if tape.rate_curve == FLAT_ZERO else ""
        checks.append(_bound("asks not below intrinsic value", intrinsic_findings(rows), assumed))
        checks.append(_bound("put-call parity", parity_findings(rows), assumed))
    return VerifyReport(tape.name, tape.underlying, tuple(s.day for s in tape.sessions), tuple(checks))


def verify_data_set(
    catalog: Path, name: str, underlying: str, *, session: date | None = None
) -> VerifyReport:
    """Check the files of one underlying of a data set, then the tape of each of its sessions.

    With ``session`` only that session becomes a tape; the files are checked all the same.

    A file that cannot be read is a hard finding that names the file, and ends the report there.

    Raises
    ------
    DataError
        When there is no such data set or underlying.
    """
    manifest, base, coverage, roots = find_underlying(catalog, name, underlying)
    keys = coverage.keys if base == underlying.upper() else (base, *roots)
    stored = inspect_files(catalog, name, keys, manifest.bar_seconds)
    checks = _stored_checks(stored)
    days = tuple(date.fromisoformat(day) for day in coverage.sessions if len(day) == 10)
    if stored.unreadable or manifest.bar_seconds >= DAY_SECONDS:
        return VerifyReport(name, base, days, tuple(checks))
    found: list[tuple[date, Check]] = []
    for day in days if session is None else (session,):
        if session is None and not is_session(day):
            continue
        try:
            tape = load_tape(catalog, name, underlying=underlying, start=day, end=day)
        except DataError as error:
            if session is not None:
                raise
            found.append((day, _soft("the session makes a tape", 1, 1, error.what)))
            continue
        found.append((day, _soft("the session makes a tape", 1, 0)))
        found.extend((day, check) for check in verify_tape(tape).checks)
    return VerifyReport(name, base, days, (*checks, *_summed(found)))


def _stored_checks(stored: StoredFindings) -> list[Check]:
    worst = _soft(
        "stored rows not crossed",
        stored.quote_rows,
        stored.crossed,
        "closes of different moments in one bar; the older side is withheld from the desk"
        if stored.crossed
        else "",
    )
    if stored.crossed_unexplained:
        worst = replace(
            worst,
            verdict=Verdict.FAILED,
            detail=f"{stored.crossed_unexplained} cannot be two moments of one bar; "
            f"first: {stored.first_crossed}",
        )
    return [
        _hard("files can be read", stored.files, len(stored.unreadable), "; ".join(stored.unreadable[:3])),
        _hard(
            "files are sorted by time known",
            stored.files,
            len(stored.unsorted),
            "; ".join(stored.unsorted[:3]),
        ),
        _hard("rows are known when their bar ends", stored.rows, stored.wrong_bar_length),
        _soft("stored rows are unique", stored.rows, stored.duplicates),
        Check(
            "stored rows inside regular hours",
            stored.rows,
            stored.outside_hours,
            Verdict.OK,
            "the others are kept out of the tape" if stored.outside_hours else "",
        ),
        worst,
    ]


def _hard(name: str, checked: int, found: int, detail: str = "") -> Check:
    return Check(name, checked, found, Verdict.FAILED if found else Verdict.OK, detail)


def _soft(name: str, checked: int, found: int, detail: str = "") -> Check:
    return Check(name, checked, found, Verdict.WARNING if found else Verdict.OK, detail)


def _bound(name: str, finding: Finding, assumed: str) -> Check:
    detail = f"allowed {finding.tolerance:.2f}"
    if finding.found:
        detail += f", worst {finding.worst:.2f} beyond it{assumed}"
    return _soft(name, finding.checked, finding.found, detail)


def _summed(checks: Iterable[tuple[date, Check]]) -> list[Check]:
    """Add up the checks of several sessions by name; the detail is that of the worst session."""
    severity = list(Verdict)
    total: dict[str, Check] = {}
    worst: dict[str, int] = {}
    for day, check in checks:
        detail = f"most on {day}: {check.detail}" if check.found and check.detail else check.detail
        before = total.get(check.name)
        if before is None:
            total[check.name] = replace(check, detail=detail)
            worst[check.name] = check.found
            continue
        if check.found <= worst[check.name]:
            detail = before.detail
        worst[check.name] = max(worst[check.name], check.found)
        total[check.name] = Check(
            check.name,
            before.checked + check.checked,
            before.found + check.found,
            max(before.verdict, check.verdict, key=severity.index),
            detail,
        )
    return list(total.values())


def _impossible(tape: MarketTape) -> int:
    quotes = tape.quotes
    bad = np.zeros(len(quotes), dtype=np.bool_)
    for column in (quotes.bid, quotes.ask, quotes.bid_size, quotes.ask_size):
        bad |= (column < 0) | np.isinf(column)
    return int(bad.sum())


def _crossed(tape: MarketTape) -> tuple[int, int, str]:
    bid, ask = tape.quotes.bid, tape.quotes.ask
    crossed = np.flatnonzero(bid > ask)
    both = int((np.isfinite(bid) & np.isfinite(ask)).sum())
    return both, len(crossed), _row_text(tape, crossed)


def _locked(tape: MarketTape) -> tuple[int, int, str]:
    """An index level is bid and ask at once by design and is left out."""
    quotes = tape.quotes
    is_level = np.array([isinstance(each, Index) for each in tape.instruments], dtype=np.bool_)
    candidates = ~is_level[quotes.instrument_id] & np.isfinite(quotes.bid) & np.isfinite(quotes.ask)
    locked = np.flatnonzero(candidates & (quotes.bid == quotes.ask) & (quotes.bid > 0))
    return int(candidates.sum()), len(locked), _row_text(tape, locked)


def _one_sided(tape: MarketTape) -> tuple[int, str]:
    no_bid, no_ask = np.isnan(tape.quotes.bid), np.isnan(tape.quotes.ask)
    found = int((no_bid | no_ask).sum())
    return found, f"no bid {int(no_bid.sum())}, no ask {int(no_ask.sum())}" if found else ""


def _duplicates(tape: MarketTape) -> int:
    quotes = tape.quotes
    order = np.lexsort((quotes.instrument_id, quotes.ts_ns))
    ts, ids = quotes.ts_ns[order], quotes.instrument_id[order]
    return int(((np.diff(ts) == 0) & (np.diff(ids) == 0)).sum())


def _outside_sessions(tape: MarketTape) -> tuple[int, str]:
    ts = tape.quotes.ts_ns
    inside = np.zeros(len(ts), dtype=np.bool_)
    for session in tape.sessions:
        inside |= (ts >= session.open_ns) & (ts <= session.close_ns)
    outside = np.flatnonzero(~inside)
    return len(outside), _row_text(tape, outside)


def _gaps(tape: MarketTape) -> tuple[int, int, str]:
    """Count silences of the underlying (its bars where it has no quotes) from open to close."""
    columns = tape.quotes if len(tape.quotes) or tape.bars is None else tape.bars
    ts = columns.ts_ns[columns.instrument_id == int(tape.instruments.id_of(tape.underlying))]
    limit = round(GAP_INTERVALS * tape.quote_seconds * NANOS_PER_SECOND)
    checked, found, longest, longest_at = 0, 0, 0, 0
    for session in tape.sessions:
        own = ts[(ts >= session.open_ns) & (ts <= session.close_ns)]
        marks: NDArray[np.int64] = np.concatenate(([session.open_ns], own, [session.close_ns]))
        silence = np.diff(marks)
        checked += len(silence)
        found += int((silence > limit).sum())
        if int(silence.max()) > longest:
            longest, longest_at = int(silence.max()), int(marks[int(silence.argmax())])
    if not found:
        return checked, 0, ""
    return checked, found, f"longest {longest / NANOS_PER_SECOND:g} s from {_moment(longest_at)}"


def _row_text(tape: MarketTape, rows: Sequence[int] | NDArray[np.int64]) -> str:
    if not len(rows):
        return ""
    at, quotes = int(rows[0]), tape.quotes
    symbol = list(tape.instruments)[int(quotes.instrument_id[at])].symbol
    return f"first: {symbol} {_moment(int(quotes.ts_ns[at]))} bid {quotes.bid[at]:g} ask {quotes.ask[at]:g}"


def _moment(ts_ns: int) -> str:
    return from_ns(ts_ns).strftime("%Y-%m-%d %H:%M:%SZ")
