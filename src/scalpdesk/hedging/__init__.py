"""When to hedge and how much; the formulas of the field by their own names."""

from scalpdesk.hedging.bands.leland import leland_number
from scalpdesk.hedging.bands.whalley_wilmott import whalley_wilmott_band
from scalpdesk.hedging.bands.zakamouline import zakamouline_band

__all__ = ["leland_number", "whalley_wilmott_band", "zakamouline_band"]
