"""LEAN's Data folder as a source."""

from collections.abc import Sequence
from typing import Annotated

from scalpdesk.core.flags import Flag, Options
from scalpdesk.data_sources.contract import ImporterSpec, ImportRequest
from scalpdesk.datasets.importers.base import ImportReport


class LeanFlags(Options, frozen=True):
    """Flags of ``data import lean``."""

    name: Annotated[str, Flag("Name of the data set.")] = "lean"
    only: Annotated[
        tuple[str, ...],
        Flag("Security type, symbol, resolution or day (2015-12-23) to keep. May be repeated.", "WORD"),
    ] = ()


def run(request: ImportRequest, flags: LeanFlags) -> Sequence[ImportReport]:
    """Import the folder."""
    from scalpdesk.datasets.importers.lean import import_lean

    return import_lean(
        request.catalog, request.path, name=flags.name, only=flags.only, progress=request.progress
    )


IMPORTER = ImporterSpec(
    name="lean",
    summary="Import LEAN's Data folder as it is.",
    help="""Import LEAN's Data folder as it is.

    Minute bars go to the data set NAME; seconds, hours and days to NAME-second, NAME-hour and
    NAME-daily. Importing again replaces the same days. A damaged file is named and passed over, and the
    exit code is 1.
    """,
    examples=(
        "scalpdesk data import lean ~/Lean/Data",
        "scalpdesk data import lean ~/Lean/Data --only option --only equity --only goog",
    ),
    flags=LeanFlags,
    run=run,
)
