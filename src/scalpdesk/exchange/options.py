"""Options of ``scalpdesk exchange``: its flags, and what a simulated exchange is launched with."""

from datetime import date
from typing import Annotated, Literal

from scalpdesk.core.flags import Flag, Options, QuotesOption
from scalpdesk.datasets.embedded import COIN_MARKETS, EMBEDDED, USUAL_DAY

_SWITCHES = ("--fees/--no-fees", "--cutoff/--no-cutoff", "--liquidation/--no-liquidation")


class ExchangeOptions(Options, frozen=True, kw_only=True):
    """Market, protocol, accounts and behaviour of a simulated exchange."""

    data_set: Annotated[str | None, Flag("Play a data set [default: embedded].", "NAME", "--data")] = None
    generated: Annotated[str | None, Flag("Random prices, e.g. SPY,NVDA,BTC.", "SYMBOLS")] = None
    start: Annotated[date | None, Flag(f"First session of --data [default: {USUAL_DAY}].", "DATE")] = None
    end: Annotated[date | None, Flag("Last session of --data [default: the first].", "DATE")] = None
    underlying: Annotated[str | None, Flag("Underlying of --data [default: SPY, or BTC-PERPETUAL].")] = None
    clock: Annotated[
        Literal["market", "wall"] | None,
        Flag("Time of the data, or of this machine [default: market for --data, wall for --generated]."),
    ] = None
    port: Annotated[int, Flag("Port; 0 takes a free one.", least=0, most=65_535, shows_default=False)] = 0
    protocol: Annotated[
        str | None,
        Flag("alpaca, deribit, tws or an installed package's [default: by the market].", "NAME"),
    ] = None
    socket_port: Annotated[
        int,
        Flag(
            "Port of a protocol with a socket of its own; 0 takes a free one.",
            least=0,
            most=65_535,
            shows_default=False,
        ),
    ] = 0
    tws_port: Annotated[
        int | None, Flag("As --protocol tws --socket-port; 0 takes a free one.", least=0, most=65_535)
    ] = None
    speed: Annotated[str, Flag("X times as fast; 0 stands still.", "X|max")] = "1"
    faults_file: Annotated[str | None, Flag("Faults to cause: a JSON list.", "FILE", "--faults")] = None
    fault_seed: Annotated[int | None, Flag("Cause random faults, drawn from this seed.")] = None
    seed: Annotated[int, Flag("Seed of prices and keys.", least=0, most=2**63 - 1)] = 1
    quality: QuotesOption = None
    accounts: Annotated[int, Flag("Number of accounts.", least=1, most=50)] = 1
    cash: Annotated[
        float | None,
        Flag("Cash of each account, in its currency [default: 100000 USD, or 2 BTC].", least=0, most=1e12),
    ] = None
    options_level: Annotated[int, Flag("Options level, 0 to 3.", least=0, most=3)] = 3
    latency_ms: Annotated[float, Flag("Delay of orders.", least=0, most=60_000)] = 0
    lockstep_ms: Annotated[
        float,
        Flag(
            "With --speed max: wait this long for orders after clients have read their quotes.",
            least=0,
            most=10_000,
        ),
    ] = 0
    fill_model: Annotated[str, Flag("cross, mid, queue or adverse.")] = "cross"
    rate_limit: Annotated[int, Flag("Requests a minute and account; 0 for no limit.", least=0)] = 200
    fees: Annotated[bool, Flag("Charge regulatory fees.", name=_SWITCHES[0])] = True
    cutoff: Annotated[bool, Flag("Refuse late orders in expiring contracts.", name=_SWITCHES[1])] = True
    liquidation: Annotated[bool, Flag("Close expiring options you cannot pay for.", name=_SWITCHES[2])] = True
    early_assignment: Annotated[
        Literal["off", "worth", "random"],
        Flag("Assign sold options early: off, what is worth more exercised, or some at random as well."),
    ] = "worth"
    after_close_move: Annotated[
        float,
        Flag(
            "Move from the close of an expiry to its last notice, a fraction (standard deviation).",
            least=0,
            most=0.2,
        ),
    ] = 0

    @property
    def plays(self) -> str:
        """Data set that is played."""
        return self.data_set or EMBEDDED

    @property
    def in_coin(self) -> bool:
        """Whether the market settles in coin."""
        return self.plays in COIN_MARKETS

    @property
    def is_wall_time(self) -> bool:
        """Whether market time is this machine's."""
        return self.clock == "wall" or (self.generated is not None and self.clock != "market")
