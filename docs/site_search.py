# ruff: noqa: INP001 - a hook of the site, not a package
"""The site's search: pages of instructions come first, and are found by the words that people type."""

from pathlib import Path
from typing import Any

FOLDERS = {"evidence/": 0.1, "developing/decisions/": 0.1, "reference/": 0.3, "developing/": 0.5}
"""Weight of the pages below a folder; of the others 1. No page has a weight of its own."""
WORDS = Path(__file__).with_name("search_words.txt")
"""Other people's words by page, shown with what is found."""
TAGS = {
    page: [word.strip() for word in words.split(";")]
    for page, _, words in (line.partition(":") for line in WORDS.read_text("utf-8").splitlines())
    if words and not page.startswith("#")
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Give a page its weight; called by MkDocs."""
    path = page.file.src_uri
    of_folder = next((weight for folder, weight in FOLDERS.items() if path.startswith(folder)), 1.0)
    page.meta["search"] = {"boost": of_folder}
    page.meta["tags"] = TAGS.get(path, [])
    return markdown
