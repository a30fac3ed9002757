"""A package written down in a page: its files, and what an installer would leave behind."""

import re
import tomllib
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
_FILE = re.compile(r"^`([\w/]+\.(?:py|toml))`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def install_page(page: Path, site: Path) -> dict[str, str]:
    """Put the package of a page where Python looks for packages; return its files by path."""
    files = dict(_FILE.findall(page.read_text(encoding="utf-8")))
    project = tomllib.loads(files["pyproject.toml"])["project"]
    for path, text in files.items():
        if path.startswith("src/"):
            target = site / path.removeprefix("src/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    info = site / f"{project['name'].replace('-', '_')}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return files
