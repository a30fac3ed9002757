"""One wide table of an option chain as a source: quotes beside the price of the underlying."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from scalpdesk.core.errors import ArgumentError
from scalpdesk.data_sources.contract import Flag, ImporterSpec, ImportRequest
from scalpdesk.data_sources.tables import check_zone, read_columns
from scalpdesk.datasets.importers.base import ImportReport


class ChainFlags(msgspec.Struct, frozen=True, kw_only=True):
    """Flags of ``data import chain``."""

    name: Annotated[str, Flag("Name of the data set; added to if it exists.")] = "chain"
    underlying: Annotated[str | None, Flag("Underlying [default: as the table has it].", "SYMBOL")] = None
    columns: Annotated[
        tuple[str, ...],
        Flag("The file's COLUMN is NAME of a chain. May be repeated.", "NAME=COLUMN", "--map"),
    ] = ()
    timezone: Annotated[
        str | None,
        Flag("Zone of times without one [default: the only one that fits the exchange's hours].", "ZONE"),
    ] = None
    dates: Annotated[
        Literal["mdy", "dmy"] | None,
        Flag("Order of dates like 12/23/2015 [default: the one in which all of them exist]."),
    ] = None
    decimal: Annotated[
        Literal["comma", "point"] | None, Flag("Mark of decimals [default: as the figures show it].")
    ] = None
    default_size: Annotated[
        int | None, Flag("Size of quotes without one, contracts or shares.", "N", least=1)
    ] = None
    zero_bid: Annotated[
        Literal["none", "real"] | None,
        Flag(
            "A bid of 0 is no quote, or real: nobody bids [default: real for a vendor's columns, else none]."
        ),
    ] = None
    spread: Annotated[
        str, Flag("Spread of the quotes that are made of the underlying's price, USD.", "USD")
    ] = "0.02"


def run(request: ImportRequest, flags: ChainFlags) -> Sequence[ImportReport]:
    """Import the table, or each table of a folder."""
    from scalpdesk.datasets.importers.chain import ChainChoices, import_chain

    check_zone(flags.timezone)
    try:
        spread = float(flags.spread)
    except ValueError:
        spread = -1.0
    if not 0 <= spread < 100:
        raise ArgumentError("not a spread", where="--spread", value=flags.spread, fix="write it as 0.02")
    choices = ChainChoices(
        name=flags.name,
        underlying=flags.underlying,
        columns=read_columns(flags.columns),
        timezone=flags.timezone,
        dates=flags.dates,
        decimal=flags.decimal,
        default_size=flags.default_size,
        zero_bid=flags.zero_bid,
        spread=spread,
    )
    return import_chain(request.catalog, request.path, choices, request.progress)


IMPORTER = ImporterSpec(
    name="chain",
    summary="Import one wide table of a chain: quotes beside the price of the underlying.",
    help="""Import one wide CSV or Parquet table of a chain, with the price of the underlying in a column.

    Columns are known by their usual names (ORATS, OptionsDX, Cboe, ThetaData, Polygon, IVolatility), with
    calls and puts in rows or side by side. All that is missing is named at once.
    """,
    examples=(
        "scalpdesk data import chain wide.csv",
        "scalpdesk data import chain spy_15x.txt --underlying SPY --default-size 10 --map ask=Offer",
    ),
    flags=ChainFlags,
    run=run,
)
