"""Facts of US federal tax law on which the tables rest, each with its source and year: no advice.

Sources are named by section of the Internal Revenue Code (IRC), Treasury regulation (Reg.), revenue ruling
(Rev. Rul.), or publication and form of the IRS with its year.
"""

from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from scalpdesk.core.units import CENT
from scalpdesk.instruments.classes import Kind, option_class
from scalpdesk.instruments.contract import Instrument

NO_ADVICE = "no advice: tables by the rules named in docs/howto/taxes.md, to be checked with an accountant"


class Fact(NamedTuple):
    """A fact of the law."""

    name: str
    says: str
    source: str


FACTS = (
    Fact(
        "basis", "fees of a purchase are in its cost, those of a sale reduce its proceeds", "Pub. 550, 2024"
    ),
    Fact("lots", "first in, first out, unless the lot is identified at the sale", "Reg. 1.1012-1(c), 2010"),
    Fact("term", "long-term after more than a year; it begins on the day after", "IRC 1222; Rev. Rul. 66-7"),
    Fact("short sale", "realised when closed; covered with what was just bought: short-term", "IRC 1233(b)"),
    Fact("short loss", "a loss of a short sale counts when the delivery settles", "Rev. Rul. 2002-44"),
    Fact("written option", "gain or loss of its lapse or closing is short-term", "IRC 1234(b)"),
    Fact("exercise", "the premium goes into the cost or the proceeds of the shares", "Pub. 550, 2024"),
    Fact("wash sale", "no loss if replaced within 30 days before or after", "IRC 1091(a), (d)"),
    Fact("wash option", "a contract or option to acquire the share replaces it", "IRC 1091(a)"),
    Fact("wash short", "no loss of a short sale closed, if another is entered", "IRC 1091(e)"),
    Fact("straddle", "offsetting positions in one share and its options", "IRC 1092(c)"),
    Fact("straddle period", "of young positions it begins when the other side ended", "Reg. 1.1092(b)-2T(a)"),
    Fact("straddle loss", "long-term where the other side was", "Reg. 1.1092(b)-2T(b)"),
    Fact(
        "wash basis",
        "the loss goes to the replacement's cost, its holding period too",
        "IRC 1091(d), 1223(3)",
    ),
    Fact("one purchase", "the rest of the same purchase does not replace its part", "Rev. Rul. 56-602"),
    Fact(
        "1256",
        "futures and broad index options: at market on the year's last business day",
        "IRC 1256(a), (b), (g)",
    ),
    Fact("60/40", "60 % long-term and 40 % short-term, whatever the days held", "IRC 1256(a)(3)"),
    Fact("1256 wash", "a loss of a section 1256 contract is no wash sale", "IRC 1256(f)(5)"),
    Fact("forms", "Form 8949 (boxes A to F), Form 6781 part I, Schedule D", "IRS forms, 2024"),
)
"""What the tables follow."""

PUT_BESIDE_NEW, PUT_BESIDE_OLD, REPLACED = "1233(b)", "1233(d)", "1223(3)"
STRADDLE_PERIOD, STRADDLE_LOSS, DEFERRED = "1.1092(b)-2T(a)", "1.1092(b)-2T(b)", "1092(a)"
NOT_COMPUTED = {
    PUT_BESIDE_NEW: "a put was held beside shares of a year or less, whose holding period may begin anew",
    PUT_BESIDE_OLD: "a put was bought beside shares of more than a year: its loss may be long-term",
    REPLACED: "a call that replaced a loss was exercised: its shares may have the replaced holding period",
    STRADDLE_PERIOD: "part of a straddle before it was held for more than a year: its holding period may"
    " begin when the other side ended, unless a written call was qualified (1092(c)(4), then see 1092(f))",
    STRADDLE_LOSS: "entered beside an offsetting position of more than a year: its loss may be long-term",
    DEFERRED: "its loss may be deferred by the gain of an offsetting position that is open at the year's end",
}
"""Rules that may change a line and are not computed, by section of the IRC or the regulations: what they
touch is flagged.
"""


def law_text(law: str) -> str:
    """Return a section with the book that it stands in.

    >>> law_text("1233(b)"), law_text("1.1092(b)-2T(a)")
    ('IRC 1233(b)', 'Reg. 1.1092(b)-2T(a)')
    """
    return f"{'Reg.' if law.startswith('1.') else 'IRC'} {law}"


WASH_DAYS = 30
"""Days before and after: with the day itself a window of 61 (IRC 1091(a))."""
_LONG_PART = Decimal("0.60")
"""Part of a section 1256 gain that is long-term (IRC 1256(a)(3))."""
_BROAD_KINDS = frozenset({Kind.BROAD_INDEX, Kind.VOLATILITY})
"""Kinds of indices whose options are nonequity options: no narrow-based security index (IRC 1256(g)(6))."""
SETTLEMENT_DAYS = ((date(2024, 5, 28), 1), (date(2017, 9, 5), 2), (date.min, 3))
"""Business days from trade to settlement of shares, since when (SEC rule 15c6-1)."""


def is_section_1256(instrument: Instrument) -> bool:
    """Return whether it is a section 1256 contract: a future, an option on one, or on a broad index.

    >>> from scalpdesk.instruments.classes import us_option
    >>> [is_section_1256(us_option(f"{root}251219C00600000", ["KO"])) for root in ("SPX", "XSP", "SPY", "KO")]
    [True, True, False, False]
    """
    if instrument.is_future:
        return True
    if not instrument.is_option:
        return False
    if instrument.is_on_future:
        return True
    row = option_class(instrument.root, instrument.expiry)
    return row is not None and row.kind in _BROAD_KINDS


def is_long_term(held_since: date, sold: date) -> bool:
    """Return whether property was held for more than a year; the day it was acquired does not count.

    >>> is_long_term(date(2023, 3, 1), date(2024, 3, 1)), is_long_term(date(2023, 3, 1), date(2024, 3, 2))
    (False, True)
    """
    begins = held_since + timedelta(days=1)
    try:
        first = begins.replace(year=begins.year + 1)
    except ValueError:  # 29 February
        first = date(begins.year + 1, 3, 1)
    return sold >= first


def is_in_wash_window(sold: date, acquired: date) -> bool:
    """Return whether an acquisition lies within 30 days before or after a sale."""
    return abs((acquired - sold).days) <= WASH_DAYS


def parts_of_1256(gain: Decimal) -> tuple[Decimal, Decimal]:
    """Return the short-term and the long-term part of a section 1256 gain, in cents.

    >>> parts_of_1256(Decimal("100.01"))
    (Decimal('40.00'), Decimal('60.01'))
    """
    long = (gain * _LONG_PART).quantize(CENT, ROUND_HALF_UP)
    return gain - long, long
