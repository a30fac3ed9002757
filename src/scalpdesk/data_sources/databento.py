"""Databento's DBN files as a source (extra ``databento``)."""

from collections.abc import Sequence
from typing import Annotated

from scalpdesk.core.errors import DataError
from scalpdesk.core.flags import Flag
from scalpdesk.data_sources.contract import ImporterSpec, ImportRequest
from scalpdesk.data_sources.vendors import VendorFlags
from scalpdesk.datasets.importers.base import ImportReport


class _DatabentoFlags(VendorFlags, frozen=True, kw_only=True):
    """Flags of ``data import databento``."""

    name: Annotated[str, Flag("Name of the data set.")] = "databento"


def run(request: ImportRequest, flags: _DatabentoFlags) -> Sequence[ImportReport]:
    """Import records as quotes and bars, definitions as listings."""
    from scalpdesk.datasets.coin_data import write_day
    from scalpdesk.datasets.importers.databento_files import ENDINGS, DbnStage, listings_note
    from scalpdesk.datasets.importers.vendor_files import VendorChoices, import_files

    if not request.path.exists():
        raise DataError("no such file", where=str(request.path), fix="check the path")
    choices = VendorChoices(
        name=flags.name,
        underlyings=flags.underlying,
        bar_seconds=flags.bar_seconds,
        every=flags.every,
        again=flags.again,
    )
    stage = DbnStage(request.path, choices.wanted)
    report = import_files(
        request.catalog, request.path, "Databento", stage, choices, request.progress, endings=ENDINGS
    )
    for root, found in stage.listings.items():
        write_day(request.catalog, flags.name, "listings", root, "all", list(found.values()))
        report.add("listings", root, len(found))
    if stage.listings:
        report.note(listings_note(stage.listings))
    return [report]


IMPORTER = ImporterSpec(
    name="databento",
    summary="Import Databento's DBN files: quotes, trades, bars, open interest, definitions.",
    help="""Import Databento's DBN files of options (OPRA.PILLAR) or shares.

    PATH is a .dbn or .dbn.zst file, or a folder of such files, of the schemas cmbp-1, mbp-1, tcbbo, tbbo,
    bbo-1s, bbo-1m, cbbo-1s, cbbo-1m, trades, ohlcv-1s, ohlcv-1m, ohlcv-1h, statistics (open interest) or
    definition. Times are UTC nanoseconds. Trades become bars of a minute. A file that is in and unchanged is
    passed over, so that an import that was cut off goes on. Needs the extra databento.
    """,
    examples=(
        "scalpdesk data import databento opra-pillar-20240116.cmbp-1.dbn.zst --underlying SPY --every 1",
        "scalpdesk data import databento OPRA-20240117-ABCDEF/ --json",
    ),
    flags=_DatabentoFlags,
    run=run,
)
