"""A package written down in a page of instructions: its files, installed."""

import re
import tomllib
from pathlib import Path

from scalpdesk_testing.kit.packages import install_points

DOCS = Path(__file__).resolve().parents[2] / "docs"
_FILE = re.compile(r"^`([\w/]+\.(?:py|toml))`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def install_page(page: Path, site: Path, *others: Path) -> dict[str, str]:
    """Put the package of a page, or of several, where Python looks for packages; return its files by path."""
    files = {path: text for each in (page, *others) for path, text in _FILE.findall(each.read_text("utf-8"))}
    project = tomllib.loads(files["pyproject.toml"])["project"]
    for path, text in files.items():
        if path.startswith("src/"):
            target = site / path.removeprefix("src/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    install_points(site, project["name"], project["entry-points"])
    return files
