"""A package written down in a page: its files, and what an installer would leave behind."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

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


def install_strategies(site: Path, module: str, text: str, strategies: dict[str, str]) -> None:
    """Put a module where Python looks for packages; ``strategies`` names an attribute of it by name."""
    site.mkdir(exist_ok=True)
    (site / f"{module}.py").write_text(text, encoding="utf-8")
    points = {name: f"{module}:{attribute}" for name, attribute in strategies.items()}
    install_points(site, module, {"scalpdesk.strategies": points})


def install_points(site: Path, package: str, groups: Mapping[str, Mapping[str, str]]) -> None:
    """Leave a package's entry points, as an installer does, where Python looks for packages."""
    info = site / f"{package.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1.0\n")
    lines = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
