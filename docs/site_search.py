# ruff: noqa: INP001 - a hook of the site, not a package
"""The site's search: pages of instructions come first, and are found by the words that people type."""

from typing import Any

FOLDERS = {"evidence/": 0.1, "developing/decisions/": 0.1, "reference/": 0.3, "developing/": 0.5}
"""Weight of the pages below a folder; of the others 1."""
PAGES = {
    "developing/write_a_strategy.md": 1.0,
    "howto/venue-data.md": 0.6,
    "howto/configuration.md": 2.0,
    "howto/dealer-gamma.md": 2.0,
    "howto/several-strategies.md": 1.5,
    "index.md": 0.1,
    "start/what-works.md": 0.2,
    "strategies/gamma-scalper.md": 4.0,
    "strategies/hybrid.md": 2.0,
    "strategies/spx.md": 1.5,
    "strategies/zero-dte.md": 2.0,
    "troubleshooting.md": 4.0,
    "venues/alpaca.md": 2.0,
}
"""Weight of the page that answers where others name the same words in their headings."""

TAGS = {
    "concepts/explain.md": ["attribution", "P&L by Greek"],
    "concepts/fees.md": ["commissions", "costs"],
    "concepts/fills.md": ["slippage", "mid price"],
    "concepts/margin.md": ["margin call", "liquidation", "buying power", "portfolio margin", "leverage"],
    "concepts/pricing.md": ["American option", "pricing model", "Black-Scholes", "binomial"],
    "concepts/variance-time.md": ["weekend", "theta decay"],
    "developing/write_a_strategy.md": ["own strategy", "Python"],
    "go-live/alerts.md": ["notifications", "phone"],
    "go-live/checklist.md": ["secrets", "safe", "keys safe"],
    "go-live/live.md": ["paper trading", "paper account", "arm", "real money", "switch to live"],
    "go-live/modes.md": [
        "kill switch",
        "trading halt",
        "panic button",
        "emergency stop",
        "close all positions",
    ],
    "go-live/reconciliation.md": ["mismatch", "position differs", "out of sync"],
    "go-live/risk-checks.md": [
        "circuit breaker",
        "loss streak",
        "pattern day trader",
        "losing streak",
    ],
    "go-live/risk.md": ["daily loss limit", "maximum daily loss", "limits"],
    "go-live/stop-and-resume.md": ["crash", "crashed", "computer restart", "power failure"],
    "howto/bands.md": ["hedge frequency", "delta hedge", "Whalley-Wilmott", "rebalancing"],
    "howto/book-risk.md": ["value at risk", "VaR", "stress test"],
    "howto/data.md": ["free data", "options data", "historical data"],
    "howto/events.md": ["earnings", "Fed", "economic calendar", "avoid days"],
    "howto/expiry-day.md": ["pin risk", "expiration", "expires in the money"],
    "howto/report.md": ["tax", "tear sheet", "replay journal"],
    "howto/statements.md": ["broker statement", "Flex query", "activity statement", "reconcile"],
    "howto/sweep.md": ["optimization", "optimisation", "parameters", "grid search"],
    "operations/container.md": ["Docker", "Podman"],
    "operations/service.md": ["VPS", "systemd", "schedule"],
    "start/what-works.md": ["supported brokers", "tastytrade", "Schwab", "not yet"],
    "strategies/gamma-scalper-entry.md": ["position size", "sizing", "contracts bought", "many contracts"],
    "strategies/gamma-scalper.md": [
        "stop loss",
        "trailing stop",
        "take profit",
        "percent of premium",
        "volatility premium",
        "profitable",
    ],
    "strategies/structures.md": [
        "sell",
        "premium",
        "short strangle",
        "covered call",
        "wheel",
        "iron condor",
        "calendar",
    ],
    "troubleshooting.md": ["not buying", "order stuck", "pending"],
    "venues/deribit.md": ["crypto", "Bitcoin", "Ethereum"],
}
"""Words that people search for and the page does not say in its headings; shown with what is found."""


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Give a page its weight; called by MkDocs."""
    path = page.file.src_uri
    of_folder = next((weight for folder, weight in FOLDERS.items() if path.startswith(folder)), 1.0)
    page.meta["search"] = {"boost": PAGES.get(path, of_folder)}
    page.meta["tags"] = TAGS.get(path, [])
    return markdown
