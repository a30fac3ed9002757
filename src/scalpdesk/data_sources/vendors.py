"""Files of data vendors as sources: Polygon, ThetaData, Cboe DataShop."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from scalpdesk.core.flags import Flag, Options
from scalpdesk.data_sources.contract import ImporterSpec, ImportRequest
from scalpdesk.datasets.importers.base import ImportReport
from scalpdesk.datasets.importers.vendor_formats import CBOE, POLYGON, THETADATA, FileFormat


class VendorFlags(Options, frozen=True, kw_only=True):
    """Flags that all vendors' files share."""

    name: Annotated[str, Flag("Name of the data set.")]
    underlying: Annotated[
        tuple[str, ...], Flag("Only this underlying or option root. May be repeated.", "SYMBOL")
    ] = ()
    bar_seconds: Annotated[
        int | None,
        Flag("Length of a bar [default: from the file; a minute for bars of trades].", least=1, most=3_600),
    ] = None
    every: Annotated[
        int | None,
        Flag("Keep the last quote of each interval of so many seconds [default: every quote].", least=1),
    ] = None
    again: Annotated[bool, Flag("Also files that have been imported before.")] = False


class PolygonFlags(VendorFlags, frozen=True, kw_only=True):
    """Flags of ``data import polygon``."""

    name: Annotated[str, Flag("Name of the data set.")] = "polygon"
    underlying: Annotated[
        tuple[str, ...], Flag("Underlying or option root to keep. May be repeated.", "SYMBOL")
    ]


class ThetaDataFlags(VendorFlags, frozen=True, kw_only=True):
    """Flags of ``data import thetadata``."""

    name: Annotated[str, Flag("Name of the data set.")] = "thetadata"
    symbol: Annotated[
        str | None, Flag("Option (OCC symbol) or share of files without contract columns.", "SYMBOL")
    ] = None


class CboeFlags(VendorFlags, frozen=True, kw_only=True):
    """Flags of ``data import cboe``."""

    name: Annotated[str, Flag("Name of the data set.")] = "cboe"


def _import(
    request: ImportRequest, flags: VendorFlags, vendor: str, formats: Sequence[FileFormat]
) -> Sequence[ImportReport]:
    """Import files of a vendor in one of its formats."""
    from scalpdesk.datasets.importers.vendor_files import VendorChoices, csv_stage, import_files

    choices = VendorChoices(
        name=flags.name,
        underlyings=flags.underlying,
        symbol=flags.symbol if isinstance(flags, ThetaDataFlags) else None,
        bar_seconds=flags.bar_seconds,
        every=flags.every,
        again=flags.again,
    )
    stage = csv_stage(formats)
    return [import_files(request.catalog, request.path, vendor, stage, choices, request.progress)]


_RESUMED = "A file that is in and unchanged is passed over, so that an import that was cut off goes on."
POLYGON_FILES = ImporterSpec(
    name="polygon",
    summary="Import Polygon (Massive) flat files: quotes_v1, trades_v1, minute_aggs_v1.",
    help=f"""Import Polygon (Massive) flat files of options or shares: quotes_v1, trades_v1, minute_aggs_v1.

    PATH is a CSV.gz file as it is delivered, or a folder of such files. Times are UTC nanoseconds. Trades
    become bars of a minute. {_RESUMED}
    """,
    examples=(
        "scalpdesk data import polygon us_options_opra/quotes_v1/2024/01 --underlying SPY --every 1",
        "scalpdesk data import polygon us_stocks_sip/minute_aggs_v1/2024/01 --underlying SPY",
    ),
    flags=PolygonFlags,
    run=partial(_import, vendor="Polygon", formats=POLYGON),
)
THETADATA_FILES = ImporterSpec(
    name="thetadata",
    summary="Import ThetaData's CSV answers: quotes, trades, OHLC, open interest.",
    help=f"""Import ThetaData's CSV answers (v2 or v3): quotes, trades, OHLC, open interest.

    PATH is a CSV file, or a folder of such files. Times are New York. Trades become bars of a minute.
    {_RESUMED}
    """,
    examples=(
        "scalpdesk data import thetadata spy_quotes.csv",
        "scalpdesk data import thetadata quote.csv --symbol SPY240119C00470000",
    ),
    flags=ThetaDataFlags,
    run=partial(_import, vendor="ThetaData", formats=THETADATA),
)
CBOE_FILES = ImporterSpec(
    name="cboe",
    summary="Import Cboe DataShop's Option Quote Intervals.",
    help=f"""Import Cboe DataShop's Option Quote Intervals: quotes, trades, open interest, underlying.

    PATH is a CSV or zip file, or a folder of such files. Times are New York, at the end of the interval.
    {_RESUMED}
    """,
    examples=("scalpdesk data import cboe UnderlyingOptionsIntervals_60sec_2021-01-04.zip",),
    flags=CboeFlags,
    run=partial(_import, vendor="Cboe DataShop", formats=CBOE),
)
