"""Settings of the watch over the 0DTE scalper's position."""

from scalpdesk.strategies.toolkit.watch import Size, WatchConfig


class ZeroDteWatch(WatchConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Alerts on the position, and reports of hedges; the gamma scalper's watch with two of them on."""

    delta_z: Size | None = 4.0
    report_hedges: bool = True
    """``delta_z``, ``report_hedges``: As the gamma scalper has them."""
