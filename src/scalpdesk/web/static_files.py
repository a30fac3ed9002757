"""Files that the pages are made of: our own, and the chart library out of the package that carries it."""

from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path

CHART_FILES = {
    "uplot.js": (
        "youplot/vendor/uplot.iife.min.js",
        "2d27e8ad3d228164525ce213f9dc716f39b4e3aee0cc773fb3491c96cf4921a2",
    ),
    "uplot.css": (
        "youplot/vendor/uplot.min.css",
        "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    ),
}
"""uPlot 1.6.31 as the installed package ``youplot`` carries it: file and sha256. Never imported."""


def chart_file(name: str) -> bytes | None:
    """Return a file of the chart library, or None where it is missing or is not the one we know."""
    place, digest = CHART_FILES[name]
    try:
        path = distribution("youplot").locate_file(place)
        content = Path(str(path)).read_bytes()
    except (PackageNotFoundError, OSError):
        return None
    return content if sha256(content).hexdigest() == digest else None


def static_file(name: str) -> bytes:
    """Return a file of our own."""
    return files("scalpdesk.web").joinpath("static", name).read_bytes()
