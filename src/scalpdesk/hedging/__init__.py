"""Delta hedging: bands, their formulas by the names of the literature, and costs."""

from scalpdesk.hedging.bands.leland import leland_number
from scalpdesk.hedging.bands.whalley_wilmott import whalley_wilmott_band
from scalpdesk.hedging.bands.zakamouline import zakamouline_band
from scalpdesk.hedging.delta_models import fit_minimum_variance

__all__ = ["fit_minimum_variance", "leland_number", "whalley_wilmott_band", "zakamouline_band"]
