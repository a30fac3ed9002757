"""Disposals: what a lot came to when it ended, as a form's line has it."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

from scalpdesk.accounting.law import (
    DEFERRED,
    PUT_BESIDE_NEW,
    PUT_BESIDE_OLD,
    REPLACED,
    STRADDLE_LOSS,
    STRADDLE_PERIOD,
    is_long_term,
    is_section_1256,
)
from scalpdesk.core.units import ZERO
from scalpdesk.instruments.contract import Instrument


class Ending(StrEnum):
    """How a lot ended."""

    CLOSED = "closed"
    LAPSED = "lapsed"
    SETTLED = "settled"
    MARKED = "marked"
    """A section 1256 contract at its value on the year's last business day: it goes on at that."""


@dataclass(slots=True, kw_only=True)
class Disposal:
    """A lot, or a part of one, that ended."""

    instrument: Instrument
    units: Decimal
    """Signed as it was held: negative for a short sale or a written option."""
    opened: date
    held_since: date
    day: date
    """Trade date of the end."""
    recognised: date
    """Day that decides the year."""
    opened_for: Decimal
    """Cash of the opening: minus the cost, or the proceeds of what was sold short."""
    closed_for: Decimal
    """Cash of the end."""
    ending: Ending
    lot: str
    reference: str
    wash: Decimal = ZERO
    """Part of the loss that is disallowed, above 0."""
    replaced_by: list[str] = field(default_factory=list)
    """Lots that the disallowed loss went to."""
    doubts: frozenset[str] = frozenset()
    """Sections of the law by which the holding period may be another one, or the loss be deferred."""
    straddled_until: date | None = None
    """When the last position that offset it ended, before it ended itself."""

    @property
    def is_short(self) -> bool:
        """Whether it was sold before it was bought."""
        return self.units < 0

    @property
    def proceeds(self) -> Decimal:
        """What it was sold for, less fees."""
        return self.opened_for if self.is_short else self.closed_for

    @property
    def cost(self) -> Decimal:
        """What it was bought for, with fees and the disallowed losses that went to it."""
        return -self.closed_for if self.is_short else -self.opened_for

    @property
    def result(self) -> Decimal:
        """Gain or loss before a wash sale."""
        return self.opened_for + self.closed_for

    @property
    def gain(self) -> Decimal:
        """Gain or loss that counts."""
        return self.result + self.wash

    @property
    def is_section_1256(self) -> bool:
        """Whether it goes to Form 6781."""
        return is_section_1256(self.instrument)

    @property
    def is_long_term(self) -> bool:
        """Whether it counts as long-term; short sales and written options never do."""
        return not self.is_short and is_long_term(self.held_since, self.day)

    @property
    def term_doubts(self) -> list[str]:
        """Sections of the law by which it may count to the other term, or to another year."""
        is_long, since = self.is_long_term, self.straddled_until
        may = {
            PUT_BESIDE_NEW: is_long,
            PUT_BESIDE_OLD: not is_long and self.gain < 0,
            REPLACED: not is_long,
            # held for more than a year since the straddle ended, it is long-term either way
            STRADDLE_PERIOD: is_long and (since is None or not is_long_term(since, self.day)),
            STRADDLE_LOSS: not is_long and self.gain < 0,
            DEFERRED: self.gain < 0,
        }
        return sorted(each for each in self.doubts if may[each])
