"""The tables of a year: Form 8949, Schedule D, Form 6781 part I, income, and the lots that are open."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from scalpdesk.accounting.accountant import Books
from scalpdesk.accounting.disposals import Disposal, Ending
from scalpdesk.accounting.entries import Income
from scalpdesk.accounting.law import parts_of_1256
from scalpdesk.accounting.lots import Lot
from scalpdesk.core.errors import DataError
from scalpdesk.core.units import ZERO, number_text, to_cents
from scalpdesk.instruments.contract import Instrument

Row = dict[str, Any]
EXPIRED, _WASH = "EXPIRED", "W"
_SHORT_BOX, _LONG_BOX = "A", "D"
"""Boxes of sales that a broker reports with their basis (Form 8949, 2024); whether it did, the filer sees."""


@dataclass(frozen=True, slots=True)
class _TaxYear:
    """The tables of one year, each a list of rows with text and exact amounts in cents."""

    year: int
    form_8949: Sequence[Row]
    form_6781: Sequence[Row]
    schedule_d: Sequence[Row]
    income: Sequence[Row]
    lots: Sequence[Row]
    flags: Sequence[str]

    def tables(self) -> dict[str, Sequence[Row]]:
        """Return the tables by name."""
        return {
            "form_8949": self.form_8949,
            "form_6781": self.form_6781,
            "schedule_d": self.schedule_d,
            "income": self.income,
            "lots": self.lots,
        }


def tax_year(books: Books, income: Iterable[Income], year: int) -> _TaxYear:
    """Return the tables of a year. Raises DataError when something is not in US dollars: the forms are."""
    mine = [each for each in books.disposals if each.recognised.year == year]
    for each in mine:
        _check_dollars(each.instrument)
    sales = sorted((each for each in mine if not each.is_section_1256), key=lambda each: each.is_long_term)
    contracts = [each for each in mine if each.is_section_1256]
    form_8949, form_6781 = [_row_8949(each) for each in sales], [_row_6781(each) for each in contracts]
    return _TaxYear(
        year,
        form_8949,
        form_6781,
        _schedule_d(form_8949, form_6781),
        _income(each for each in income if each.day.year == year),
        [_lot(each) for each in books.lots_at.get(year, ())],
        [what for when, what in books.flags if when == year],
    )


def _check_dollars(instrument: Instrument) -> None:
    if instrument.currency != "USD":
        raise DataError(
            "the forms are in US dollars: each coin that comes or goes would need its value in dollars then",
            where=instrument.symbol,
            value=instrument.currency,
            fix="leave the run out, or add --plain: lots and disposals in the coin, without forms",
        )


def plain_disposals(books: Books, year: int) -> list[Row]:
    """Return the disposals of a year in their own currency, for accounts without forms."""
    return [
        {
            "symbol": each.instrument.symbol,
            "currency": each.instrument.currency,
            "units": number_text(each.units),
            "opened": each.opened.isoformat(),
            "ended": each.day.isoformat(),
            "opened_for": each.opened_for,
            "closed_for": each.closed_for,
            "result": each.result,
            "lot": each.lot,
            "disposal": each.reference,
        }
        for each in books.disposals
        if each.recognised.year == year
    ]


def plain_lots(books: Books, year: int) -> list[Row]:
    """Return the lots that are open at the end of a year, with their cost in their own currency."""
    return [{**_lot(lot), "cost": -lot.cash} for lot in books.lots_at.get(year, ())]


def description(instrument: Instrument, units: Decimal) -> str:
    """Return column (a): how many of what.

    >>> from scalpdesk.instruments.classes import us_option
    >>> description(us_option("KO260116C00070000", ["KO"]), Decimal(-2))
    '2 KO 01/16/2026 70 C'
    """
    count = number_text(abs(units))
    if not instrument.is_option or instrument.is_on_future:
        return f"{count} {instrument.symbol}"
    strike = number_text(instrument.strike)
    return f"{count} {instrument.root} {instrument.expiry:%m/%d/%Y} {strike} {instrument.right.value}"


def _row_8949(each: Disposal) -> Row:
    """Return a line of Form 8949; a short sale is acquired and delivered on the day that it is closed."""
    lapsed = each.ending is Ending.LAPSED
    acquired, sold = (each.day, each.recognised) if each.is_short else (each.opened, each.day)
    return {
        "box": _LONG_BOX if each.is_long_term else _SHORT_BOX,
        "description": description(each.instrument, each.units),
        "acquired": acquired.isoformat(),
        "sold": sold.isoformat(),
        "proceeds": to_cents(each.proceeds),
        "cost": to_cents(each.cost),
        "code": _WASH if each.wash else "",
        "adjustment": to_cents(each.wash),
        "gain": to_cents(each.gain),
        "note": " ".join(
            [*[EXPIRED] * lapsed, *["short"] * each.is_short, *(f"{law}?" for law in each.term_doubts)]
        ),
        "lot": each.lot,
        "disposal": each.reference,
        "replaced_by": " ".join(each.replaced_by),
    }


def _row_6781(each: Disposal) -> Row:
    """Return a line of Form 6781, part I."""
    gain = to_cents(each.gain)
    return {
        "description": description(each.instrument, each.units),
        "opened": each.opened.isoformat(),
        "ended": each.day.isoformat(),
        "loss": max(-gain, ZERO),
        "gain": max(gain, ZERO),
        "note": each.ending.value,
        "lot": each.lot,
        "disposal": each.reference,
    }


def _schedule_d(form_8949: Sequence[Row], form_6781: Sequence[Row]) -> list[Row]:
    """Return the totals by term: of Form 8949, the parts of Form 6781, and what they come to."""
    found = []
    net = sum((row["gain"] - row["loss"] for row in form_6781), ZERO)
    short, long = parts_of_1256(net)
    for term, box, line, other_line, part in (
        ("short-term", _SHORT_BOX, "1b", "4", short),
        ("long-term", _LONG_BOX, "8b", "11", long),
    ):
        rows = [row for row in form_8949 if row["box"] == box]
        sums = {name: _sum(rows, name) for name in ("proceeds", "cost", "adjustment", "gain")}
        found.append({"term": term, "line": line, "of": "Form 8949", **sums})
        nothing = dict.fromkeys(("proceeds", "cost", "adjustment"))
        found.append({"term": term, "line": other_line, "of": "Form 6781", **nothing, "gain": part})
    return found


def _income(lines: Iterable[Income]) -> list[Row]:
    totals: dict[tuple[str, str], Decimal] = {}
    for each in lines:
        key = each.cause, each.symbol
        totals[key] = totals.get(key, ZERO) + each.cash
    return [
        {"cause": cause, "symbol": symbol, "cash": to_cents(cash)}
        for (cause, symbol), cash in sorted(totals.items())
    ]


def _lot(lot: Lot) -> Row:
    """Return an open lot; its cost is negative for what was sold short: the proceeds."""
    return {
        "symbol": lot.instrument.symbol,
        "units": number_text(lot.units),
        "acquired": lot.acquired.isoformat(),
        "held_since": lot.held_since.isoformat(),
        "cost": to_cents(-lot.cash),
        "lot": lot.reference,
    }


def _sum(rows: Sequence[Row], name: str) -> Decimal:
    return sum((row[name] for row in rows), ZERO)
