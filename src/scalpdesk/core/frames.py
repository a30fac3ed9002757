"""Frames of results in the library that a user works with, and packages that may be missing."""

from importlib import import_module
from typing import Any

from scalpdesk.core.errors import ArgumentError, ConfigError


def required(module: str, package: str, why: str) -> Any:
    """Return a module of a package that may be missing.

    Raises ConfigError when it is: says ``why`` it is needed and how to install ``package``.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as problem:
        raise ConfigError(why, where=module, fix=f'pip install "{package}"') from problem


def required_polars() -> Any:
    """Return polars. Raises ConfigError when it is not installed."""
    return required("polars", "polars", "frames of polars need a package that is not installed")


def in_library(frame: Any, library: str) -> Any:
    """Return a frame of pandas as it is, or its rows as a frame of polars, read through Arrow.

    ``frame``: Of pandas. In polars a named index is the first column, and times have microseconds.
    ``library``: ``pandas`` or ``polars``.

    Raises ConfigError when polars is not installed. Raises ArgumentError for another library.
    """
    if library == "pandas":
        return frame
    if library != "polars":
        raise ArgumentError(
            "no frame of this library", where="library", value=library, fix="pandas or polars"
        )
    polars = required_polars()
    import duckdb  # noqa: PLC0415 - a tenth of a second

    with duckdb.connect() as connection:
        zone = getattr(frame.index, "tz", None)
        if zone is not None:
            connection.execute("SET TimeZone = $zone", {"zone": str(zone)})
        plain = frame if frame.index.name is None else frame.reset_index()
        return polars.DataFrame(connection.from_df(plain))


class Framed:
    """A result that is a table, too."""

    __slots__ = ()

    def to_frame(self, library: str = "pandas") -> Any:
        """Return its table as a frame of ``pandas``, or of ``polars``: see :func:`in_library`."""
        return in_library(self._frame(), library)

    def _frame(self) -> Any:
        raise NotImplementedError
