"""Whether a signal may be scalped, and with which order: every reason against it, not the first alone."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

import msgspec

from scalpdesk.core.enums import Mode
from scalpdesk.core.units import DAYS_PER_YEAR, InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.deadlines import VenueCutoff
from scalpdesk.instruments.sessions import Session, final_close_ns, from_ns, to_new_york, whole_session
from scalpdesk.instruments.ticks import TickRule
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.signals.conviction import ConvictionLevel, conviction_level
from scalpdesk.signals.ema_cloud import CloudCandle, cloud_held, has_bounced
from scalpdesk.strategies.contract import DeskView
from scalpdesk_strategies.ema_scalper.config import SPX, SPX_VENUE, ScalpConfig
from scalpdesk_strategies.ema_scalper.greeks_gate import GreeksGate
from scalpdesk_strategies.ema_scalper.macro_bias import MacroState, last_closed_start_ns
from scalpdesk_strategies.ema_scalper.model import (
    NAN,
    ChainRow,
    OptionsChain,
    StrikeSelection,
    TradeSignal,
)
from scalpdesk_strategies.ema_scalper.sizing import Halves, ScalpSizer, buy_limit, halves
from scalpdesk_strategies.ema_scalper.strike_selector import LONGEST_DAYS, StrikeSelector
from scalpdesk_strategies.ema_scalper.timing import (
    cutoff_ns,
    is_near_fomc,
    session_end_ns,
    start_ns,
    venue_deadline_ns,
)
from scalpdesk_strategies.ema_scalper.volume_surge import is_surge


class ScalpMoment(NamedTuple):
    """The desk at the instant of a signal."""

    now_ns: int
    session: Session
    venue: str
    cutoff: VenueCutoff
    open_scalps: int
    """Scalps held or being bought."""
    losing_scalps: int
    """Open scalps in the signal's ticker that lose."""
    macro: MacroState | None = None
    """The 10-minute bias; None where the signal comes from elsewhere."""
    mode: Mode = Mode.ACTIVE

    @property
    def is_macro_missing(self) -> bool:
        """Whether the last 10-minute bar of the session that has closed by now is not in the bias.

        In the first ten minutes the bias is that of the session before.
        """
        if self.macro is None:
            return False
        start_ns = last_closed_start_ns(self.now_ns, whole_session(self.session).open_ns)
        return start_ns is not None and self.macro.bar_end_ns <= start_ns


class EntryPlan(msgspec.Struct, frozen=True):
    """The order of a first half, and what is planned for the second."""

    selection: StrikeSelection
    """The contract."""
    limit: Decimal
    """Limit of the order, currency per share."""
    halves: Halves
    """Contracts of both orders."""
    risk_usd: Decimal
    """Loss of the first half at its stop."""


class EntryPlanner:
    """Filters, strike, Greeks, size and limit of an entry: the same in a backtest, live and in a script."""

    def __init__(
        self,
        config: ScalpConfig,
        *,
        selector: StrikeSelector | None = None,
        gate: GreeksGate | None = None,
        sizer: ScalpSizer | None = None,
    ) -> None:
        self.config = config
        self.selector = selector or StrikeSelector(config)
        self.gate = gate or GreeksGate(config)
        self.sizer = sizer or ScalpSizer(config)

    def refusals(self, signal: TradeSignal, moment: ScalpMoment) -> tuple[str, ...]:
        """Return every reason not to scalp a signal; empty when nothing speaks against it."""
        return (
            *self._refused_ticker(signal, moment),
            *self._refused_signal(signal, moment),
            *self._refused_time(moment),
            *_refused_mode(moment.mode),
        )

    def plan(self, signal: TradeSignal, chain: OptionsChain, equity: float) -> EntryPlan | tuple[str, ...]:
        """Return the planned entry order for a signal, or every reason against one."""
        selection = self.selector.select(signal.ticker, signal.direction, chain)
        if selection is None:
            return (self.selector.why_none(signal.ticker, chain),)
        verdict = self.gate.validate(selection, signal)
        if not verdict.approved:
            return tuple(f"{selection.option_symbol}: {text}" for text in verdict.reasons)
        tick_rule = chain.tick_rule(selection.option_symbol, signal.ticker)
        limit = buy_limit(selection.bid, selection.ask, tick_rule, self.config.limit_offset)
        count = self.sizer.calculate(float(limit), signal.conviction, equity)
        if (verdict.adjustments or {}).get("reduce_size"):
            count = max(count // 2, min(count, 1))
        if not count:
            if conviction_level(signal.conviction) in (ConvictionLevel.LOW, ConvictionLevel.NONE):
                return (f"a conviction of {signal.conviction} has no size: half from 50, all from 75",)
            most = f"{self.config.max_risk_per_scalp:.1%} of {equity:.2f}"
            return (f"one contract at {limit} may lose more than {most}",)
        both = halves(count) if self.config.second_half != "never" else Halves(count, 0)
        return EntryPlan(selection, limit, both, both.first * self.sizer.risk_per_contract(limit))

    @staticmethod
    def against_contract(contract: OptionContract, moment: ScalpMoment, *, is_taken: bool) -> tuple[str, ...]:
        """Return why no scalp may begin in a contract now; ``is_taken``: it is held or ordered."""
        if is_taken:
            return (f"{contract.symbol} is held or ordered already",)
        is_late = moment.now_ns >= venue_deadline_ns(contract, moment.cutoff)
        return ("past the venue's last orders in the contract",) if is_late else ()

    def against_adding(
        self,
        *,
        price: Decimal | None,
        entry_price: Decimal,
        is_buying: bool,
        is_past_cutoff: bool,
        mode: Mode,
    ) -> tuple[str, ...]:
        """Return every reason not to buy the second half now.

        ``price``: Mid of a good quote; None without one.
        ``entry_price``: Paid for the first half.
        ``is_buying``: Whether an order of the scalp is still live.
        ``is_past_cutoff``: Whether its time to open is over.
        ``mode``: Of the desk.
        """
        found = []
        if is_buying:
            found.append("the first half is still being bought")
        if price is None:
            found.append("no good quote")
        elif self.config.no_average_up and price < entry_price:
            found.append(f"mid {price:.3f} is below the entry price {entry_price:.3f}")
        if is_past_cutoff:
            found.append("past the cut-off")
        return (*found, *_refused_mode(mode))

    def is_add_due(self, candles: Sequence[CloudCandle], sign: int) -> bool | None:
        """Return whether the candles since the fill call for the second half; None while one may still.

        ``candles``: Bars that closed after the first fill, oldest first.
        ``sign``: +1 for calls, -1 for puts.
        """
        if not candles:
            return None
        if self.config.second_half == "bounce":
            return has_bounced(candles, sign) or None
        return cloud_held(candles[0], sign)  # the first candle alone decides

    def _refused_ticker(self, signal: TradeSignal, moment: ScalpMoment) -> list[str]:
        config, found = self.config, []
        if not config.may_scalp(signal.ticker):
            found.append(f"{signal.ticker} is not in scalp_tickers")
        elif signal.ticker == SPX and moment.venue != SPX_VENUE:
            found.append(f"SPX is scalped at {SPX_VENUE} alone, not at {moment.venue}")
        if moment.open_scalps >= config.max_concurrent_scalps:
            found.append(f"{moment.open_scalps} scalps open, most {config.max_concurrent_scalps}")
        if config.no_average_up and moment.losing_scalps:
            found.append(f"a scalp in {signal.ticker} is losing")
        return found

    def _refused_signal(self, signal: TradeSignal, moment: ScalpMoment) -> list[str]:
        config, found = self.config, []
        if signal.conviction < config.min_conviction_to_scalp:
            found.append(f"conviction {signal.conviction}, least {config.min_conviction_to_scalp}")
        if not is_surge(signal.volume_ratio, config.min_volume_ratio):
            times = "not known" if signal.volume_ratio is None else f"{signal.volume_ratio:.2f} of the usual"
            found.append(f"volume {times}, must be above {config.min_volume_ratio:.2f}")
        if config.require_macro_alignment:
            if signal.macro_bias is None:
                found.append("the 10-minute bias is not known yet")
            elif signal.macro_bias != signal.sign:
                bias = {1: "bullish", 0: "neutral", -1: "bearish"}[signal.macro_bias]
                found.append(f"the 10-minute bias is {bias}")
            elif moment.is_macro_missing:
                found.append("the last 10-minute bar is missing")
        return found

    def _refused_time(self, moment: ScalpMoment) -> list[str]:
        config, session, now_ns = self.config, moment.session, moment.now_ns
        found = []
        if now_ns < start_ns(session, config):
            found.append(f"before {config.scalp_start_time} New York")
        last_ns = cutoff_ns(session, 1, config)
        if not config.hold_overnight:  # what is bought from then on would be sold at once
            last_ns = min(last_ns, session_end_ns(session))
        if now_ns >= last_ns:
            found.append(f"past the last entry at {to_new_york(last_ns):%H:%M} New York")
        if is_near_fomc(now_ns, config):
            found.append("within 30 minutes of an FOMC statement")
        return found


def _refused_mode(mode: Mode) -> tuple[str, ...]:
    return () if mode is Mode.ACTIVE else (f"the desk is {mode.lower()}",)


def latest_expiry(day: date) -> date:
    """Return the last expiry that a scalp of this day can have."""
    return day + timedelta(days=LONGEST_DAYS)


def losing(marks: Sequence[tuple[Decimal, Decimal | None]]) -> int:
    """Return how many pairs of entry price and mark lose; one without a mark counts as losing."""
    return sum(price is None or price < entry for entry, price in marks)


class DeskChain(OptionsChain):
    """Options that can be bought now, from the desk's quotes; Greeks are computed for rows that ask."""

    def __init__(
        self,
        view: DeskView,
        options: Sequence[tuple[InstrumentId, OptionContract]],
        spot: float,
        *,
        until: date,
        cutoff_passed: bool,
    ) -> None:
        self._view = view
        self.ids: dict[str, InstrumentId] = {}
        assert view.session is not None
        today = view.session.day
        rows = []
        for number, contract in options:
            if today <= contract.expiry <= until and final_close_ns(contract) > view.now_ns:
                self.ids[contract.symbol] = number
                rows.append(_row(view, number, contract))
        super().__init__(from_ns(view.now_ns), spot, rows, cutoff_passed=cutoff_passed)

    def tick_rule(self, option_symbol: str, ticker: str) -> TickRule:
        """Return the price grid of an option: that of the venue's contract."""
        del ticker
        return self._view.instruments[self.ids[option_symbol]].tick_rule

    def valued(self, rows: Sequence[ChainRow]) -> list[ChainRow]:
        """Return these rows with the Greeks of their mids; one without an implied volatility is left out."""
        found, view = [], self._view
        view.delta_engine.follow([self.ids[row.option_symbol] for row in rows], view.now_ns)
        for row in rows:
            valuation = view.delta_engine.state(self.ids[row.option_symbol], view.now_ns)
            if valuation is None or not valuation.vol_is_fresh:
                continue
            greeks = valuation.greeks
            theta = greeks.theta / DAYS_PER_YEAR
            found.append(
                msgspec.structs.replace(
                    row, delta=greeks.delta, gamma=greeks.gamma, theta=theta, iv=valuation.vol
                )
            )
        return found


def _row(view: DeskView, number: InstrumentId, contract: OptionContract) -> ChainRow:
    quote = view.market.quotes[number]
    is_good = view.market.verdict(number, view.now_ns) is QuoteVerdict.GOOD
    return ChainRow(
        option_symbol=contract.symbol,
        expiry=contract.expiry,
        strike=float(contract.strike),
        option_type="call" if contract.is_call else "put",
        bid=quote.bid if quote is not None and is_good else NAN,
        ask=quote.ask if quote is not None and is_good else NAN,
        open_interest=view.market.open_interest.get(number, 0),
        volume=view.market.volume_today(number),
    )
