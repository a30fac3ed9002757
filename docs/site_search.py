# ruff: noqa: INP001 - a hook of the site, not a package
"""Weights of the site's search: pages of instructions come before those to look things up in."""

from typing import Any

FOLDERS = {"evidence/": 0.1, "developing/decisions/": 0.1, "reference/": 0.3, "developing/": 0.5}
"""Weight of the pages below a folder; of the others 1."""
PAGES = {
    "developing/write_a_strategy.md": 1.0,
    "howto/alpaca-data.md": 0.6,
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


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Give a page its weight; called by MkDocs."""
    path = page.file.src_uri
    of_folder = next((weight for folder, weight in FOLDERS.items() if path.startswith(folder)), 1.0)
    page.meta["search"] = {"boost": PAGES.get(path, of_folder)}
    return markdown
