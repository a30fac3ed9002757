"""What an installer of a package would leave behind."""

from collections.abc import Mapping
from pathlib import Path


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
