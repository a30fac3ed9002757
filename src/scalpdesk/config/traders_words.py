"""What traders and other programs call our keys, options and commands: one table, and what it answers.

A row is asked when a name is unknown. Its words stand for all ways to write them, ``stop_loss`` for
``--stop-loss`` too; one with a section, as ``hedge.delta``, is that word within that section alone.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Literal, NamedTuple

from scalpdesk.core import readings
from scalpdesk.instruments.broker_terms import fee_names

Reader = Callable[[str], str | None]
"""Returns what a value typed for a word is as the key's value; None where it says nothing of it."""


def _as_typed(text: str) -> str | None:
    return text or None


def _fraction(text: str) -> str | None:
    """Read a part of something: ``25`` and ``25%`` are a quarter."""
    return readings.number_meant(text, lambda number: 0 < number <= 1)


def _size(text: str) -> str | None:
    return readings.number_meant(text, lambda number: number > 0)


def _count(text: str) -> str | None:
    return readings.number_meant(text, lambda number: number > 0 and number == int(number))


def _delta(text: str) -> str | None:
    """Read a delta, ``0.16`` or ``16``, as a distance: ``16d``."""
    found = readings.number_meant(
        text.lower().removesuffix("d").removesuffix("delta"), lambda number: 0 < number < 100
    )
    if found is None:
        return None
    return f"{100 * float(found) if float(found) < 1 else float(found):g}d"


def _either(**words: str) -> Reader:
    """Return a reader of a fixed set of words; each of ours has its likes, with spaces between them."""
    by_word = {each: ours for ours, likes in words.items() for each in (ours, *likes.split())}
    return lambda text: by_word.get(_folded(text))


_switch = _either(true="yes on 1", false="no off 0")


def _symbol(text: str) -> str | None:
    return text.upper() or None


def _fees(text: str) -> str | None:
    return text if text in fee_names() else None


_FILLS = _either(
    mid="midpoint mark middle", cross="market bidask bid_ask nbbo worst", adverse="slippage", queue="limit"
)
_SIDES = _either(long="buy bought debit bto", short="sell sold credit sto write")
_RIGHTS = _either(call="c calls bull", put="p puts bear")
_SHAPES = _either(
    vertical="credit_spread debit_spread bull_call_spread bear_put_spread bull_put_spread"
    " bear_call_spread spread",
    iron_condor="condor ironcondor ic",
    iron_fly="iron_butterfly ironfly ibf",
    calendar="calendar_spread time_spread horizontal",
    butterfly="fly",
    back_ratio="backspread back_spread",
    ratio="ratio_spread",
    risk_reversal="collar synthetic",
)
_BANDS = _either(
    whalley_wilmott="whalley ww wilmott",
    fixed="fixd static constant",
    zakamouline="zakamulin",
    time_based="time clock interval periodic",
)


class Word(NamedTuple):
    """A row: the words of others, and the key that does what they mean."""

    words: str
    """With spaces between them."""
    keys: str
    """The first that the strategy has, of those with spaces between them, is answered."""
    usual: str
    """Value that is written where none was typed, or it says nothing of the key's."""
    reads: Reader = _as_typed
    more: str = ""
    """Further settings that belong to it, with spaces between them; ``{}`` stands for its value, ``{+7}`` for
    that and 7."""
    why: str = ""
    """What differs from the word's usual meaning."""


_BROKERS = _either(
    ibkr="ib interactive_brokers interactivebrokers tws tastytrade tastyworks schwab"
    " tda tradier etrade fidelity",
    alpaca="robinhood webull commission_free",
    none="zero free off no false 0",
)


def _schedule(text: str) -> str | None:
    """Read a broker, or an amount a contract, as the fee schedule that comes nearest."""
    return _BROKERS(text) or ("ibkr" if readings.number_meant(text, lambda number: number > 0) else None)


def _distance(text: str) -> str | None:
    return _delta(text) if "delta" in text.lower() else None


VALUES: Mapping[str, Reader] = {
    "simulation.fees": _schedule,
    "structure.body": _distance,
    "structure.wing": _distance,
    "structure.outer": _distance,
    "structure.shape": _SHAPES,
    "structure.side": _SIDES,
    "structure.right": _RIGHTS,
    "simulation.fill_model": _FILLS,
    "simulation.fill_model_hedge": _FILLS,
    "hedge.band": _BANDS,
}
"""Words for the values of a key, by the last two names of its path."""


def choice_meant(key: str, value: object) -> str | None:
    """Return the value of a key that a trader's word for it means; None where the table has none."""
    read = VALUES.get(".".join(key.split(".")[-2:]))
    return None if read is None else read(str(value))


_EXITS = "stop_percent stop_pct stoploss_pct stop_loss_percent"
WORDS: tuple[Word, ...] = (
    # what is traded, and how much
    Word(
        "symbol ticker tickers symbols asset instrument stock product underlying_symbol",
        "underlying",
        "SPY",
        _symbol,
    ),
    Word(
        "contracts quantity qty lots lot_size size units num_contracts n_contracts position_size"
        " number_of_contracts size.contracts size.quantity size.straddles entry.contracts entry.quantity",
        "straddles entry.straddles",
        "1",
        _count,
    ),
    Word(
        "structure.type structure.name structure.kind structure.strategy structure_type option_strategy"
        " entry.structure entry.shape spread_type",
        "structure.shape",
        "iron_condor",
        lambda text: _SHAPES(text) or text or None,
    ),
    Word("direction long_short buy_sell position_side", "structure.side", "short", _SIDES),
    Word("option_type call_put put_call cp callput", "structure.right", "put", _RIGHTS),
    Word(
        "delta target_delta short_delta strike_delta put_delta call_delta entry_delta structure.deltas"
        " selection.deltas entry.delta",
        "structure.body",
        "25d",
        _delta,
    ),
    Word("long_delta wing_delta", "structure.wing", "10d", _delta),
    Word("width wing_width wings spread_width wingspan structure.distance", "structure.wing", "5", _size),
    # which options
    Word(
        "dte days_to_expiry days_to_expiration expiration_days target_dte entry_dte days"
        " min_days selection.min_dte"
        " entry.min_dte min_dte",
        "selection.min_expiration_days",
        "30",
        _count,
        "selection.max_expiration_days={+7}",
        "calendar days; a window of a week holds an expiry",
    ),
    Word("max_dte max_days selection.max_days", "selection.max_expiration_days", "60", _count),
    Word(
        "expiry expiration expiration_date expiry_date exp maturity structure.expiry entry.expiry",
        "selection.expiry",
        "2018-03-16",
    ),
    Word("strike strike_price structure.strike entry.strike", "selection.strike", "270", _size),
    Word(
        "open_interest oi min_oi volume min_volume",
        "selection.min_open_interest contract.min_open_interest_contracts",
        "500",
        _count,
    ),
    Word(
        "max_spread spread bid_ask max_bid_ask max_bid_ask_spread spread_pct max_spread_pct bid_ask_spread",
        "selection.max_spread_fraction contract.max_spread_fraction",
        "0.1",
        _fraction,
    ),
    # when and whether to enter
    Word(
        "entry_time start_time time_in enter_at entry.time entry.start entry.at entry.from"
        " entry.begin entry.open"
        " entry.after market_open open_time",
        "entry.not_before entry.at buy_from filters.window_from",
        "10:00",
        readings.time_meant,
    ),
    Word(
        "last_entry entry.end entry.until entry.to entry.last entry.before entry.latest"
        " no_entry_after entry_cutoff",
        "entry.not_after buy_until filters.window_until",
        "14:00",
        readings.time_meant,
    ),
    Word(
        "max_trades_per_day max_trades trades_per_day max_per_day daily_trades"
        " max_entries_per_day entries_per_day"
        " risk.max_trades_per_day risk.max_trades risk.trades_per_day",
        "entry.max_entries filters.max_trades_per_session",
        "2",
        _count,
        "entry.again_after_exit=true",
    ),
    Word("reenter reentry re_entry allow_reentry again", "entry.again_after_exit", "true", _switch),
    Word("min_edge edge edge_threshold min_profit expected_profit", "entry.min_edge_usd", "10", _size),
    Word("min_edge_stderrs stderrs z_score zscore n_sigma edge_stderr", "entry.k_stderr", "2", _size),
    Word(
        "iv_rank ivr iv_percentile ivp min_iv_rank min_ivr iv_rv vol_premium vrp",
        "entry.min_vol_ratio",
        "1.05",
        lambda _: None,
        why="this entry looks at forecast over implied volatility, not at the IV rank",
    ),
    Word(
        "expected_vol vol_forecast my_vol fair_vol realized_vol realised_vol",
        "entry.forecast_vol",
        "0.2",
        _fraction,
    ),
    # when to leave
    Word(
        "stop stop_loss stoploss sl stop_loss_pct exits.loss exit.loss exits.max_loss exit.max_loss "
        + _EXITS,
        "exits.stop_fraction exit.stop_fraction stop_usd",
        "0.3",
        _fraction,
        why="a fraction of the capital at risk",
    ),
    Word(
        "take_profit tp profit_target target profit_take target_profit take_profit_pct"
        " profit_target_pct profit"
        " exits.profit exit.profit",
        "exits.target_fraction exit.target_fraction profit_target",
        "0.5",
        _fraction,
        why="a fraction of the capital at risk; of a credit that was sold: credit_fraction",
    ),
    Word(
        "trailing_stop trail trailing trailing_stop_pct trail_pct trailing_stop_loss trail_percent",
        "exits.giveback_fraction exit.giveback_fraction",
        "0.5",
        _fraction,
        "exits.arm_fraction=0.3",
        "it leaves once this part of the best profit is given back, from a profit of arm_fraction on",
    ),
    Word(
        "close exit_time close_time time_exit exit_at close_at eod_exit time_stop exits.time"
        " exits.at exit.time"
        " exit.close_at exit.close exits.close exits.until sell_at",
        "exits.close_at exit.at sell_until",
        "15:45",
        readings.time_meant,
    ),
    Word(
        "exits.dte exits.days_to_expiry exit_dte close_dte exits.days exits.close_dte",
        "exits.min_dte",
        "7",
        _count,
    ),
    Word(
        "max_hold hold_days holding_period max_holding_days days_in_trade max_days_held exits.max_days dit",
        "exits.max_sessions",
        "5",
        _count,
    ),
    Word(
        "minutes_before_close eod_minutes flat_before_close flatten_before_close",
        "exits.flat_minutes_before_close exit.minutes_before_close flat_minutes_before_close",
        "15",
        _size,
    ),
    # the hedge
    Word(
        "hedge.delta hedge.threshold hedge.band_width hedge.delta_threshold hedge.width"
        " hedge_delta hedge_threshold"
        " delta_threshold hedge_band rebalance_threshold delta_band hedge.max_delta delta_limit",
        "hedge.threshold_shares hedge.threshold",
        "5",
        _size,
        why="shares per straddle",
    ),
    Word(
        "hedge.interval hedge.seconds hedge.frequency hedge.every hedge_interval"
        " hedge_frequency rehedge_interval"
        " rebalance_interval hedge.period",
        "hedge.band",
        "time_based",
        lambda _: None,
        "hedge.band_settings.interval_seconds={typed}",
    ),
    Word(
        "hedge.method hedge.model hedge.type hedge.kind hedge.name hedge.strategy hedge.mode hedge_method",
        "hedge.band",
        "whalley_wilmott",
        _BANDS,
    ),
    Word(
        "hedge.symbol hedge.with hedge.ticker hedge.underlying hedge.asset", "hedge.instrument", "ES", _symbol
    ),
    # the simulated account
    Word(
        "cash capital balance initial_capital starting_capital account_size account_value initial_cash equity"
        " start_cash initial_balance bankroll deposit init_cash simulation.cash simulation.capital",
        "simulation.starting_cash",
        "100000",
        _size,
    ),
    Word(
        "fees fee commission commissions costs cost_per_contract broker_fees commission_per_contract broker"
        " simulation.commission simulation.commissions",
        "simulation.fees",
        "ibkr",
        _fees,
        why="fees are a broker's table, by the date of the trade",
    ),
    Word(
        "slippage slippage_bps slippage_pct slip fills fill execution fill_price price_model"
        " simulation.slippage"
        " simulation.slippage_bps simulation.fills",
        "simulation.fill_model",
        "adverse",
        _FILLS,
        why="slippage comes from the fill model: the quote's far side, or worse with adverse",
    ),
    Word("latency delay lag ping latency_us simulation.delay", "simulation.latency_ms", "50", _size),
    Word("random_state random_seed rng rng_seed", "simulation.seed", "1", _count),
    Word(
        "options_approval approval_level option_level trading_level options_approval_level approval level"
        " risk.options_level",
        "simulation.options_level",
        "4",
        _count,
    ),
    # limits
    Word(
        "max_loss daily_loss loss_limit daily_stop max_loss_per_day max_daily_drawdown daily_loss_limit"
        " risk.daily_loss risk.max_loss risk.loss_limit",
        "risk.max_daily_loss",
        "500",
        lambda text: readings.number_meant(text, lambda number: number >= 1),
    ),
    Word(
        "max_drawdown drawdown max_dd daily_loss_pct max_loss_pct risk.drawdown risk.max_drawdown"
        " risk.max_daily_loss_pct",
        "risk.max_daily_loss_fraction",
        "0.05",
        _fraction,
        why="of a day, as a fraction of the equity",
    ),
    Word(
        "risk_per_trade max_risk risk_pct max_position_size position_limit max_position risk.per_trade",
        "risk.max_position_fraction",
        "0.1",
        _fraction,
    ),
    Word(
        "losing_streak consecutive_losses losses_in_row max_losses stop_after_losses",
        "risk.max_consecutive_losses",
        "3",
        _count,
    ),
    Word("leverage gearing max_leverage risk.leverage", "risk.max_capital_fraction", "1", _size),
    Word(
        "allow_short allow_naked naked shorting max_short allow_shorting short_selling risk.naked risk.short",
        "risk.max_short_contracts",
        "10",
        _count,
        why="a short position is allowed up to so many contracts of an option",
    ),
    Word(
        "max_contracts risk.contracts risk.max_contracts risk.max_qty risk.max_quantity max_order_size",
        "risk.max_order_contracts",
        "10",
        _count,
    ),
    Word(
        "risk.delta risk.max_delta max_delta net_delta max_net_delta",
        "risk.max_net_delta_fraction",
        "0.2",
        _fraction,
    ),
    Word("risk.vega risk.max_vega max_vega", "risk.max_vega_fraction", "0.02", _fraction),
    Word("risk.theta risk.max_theta max_theta", "risk.max_theta_fraction", "0.01", _fraction),
    Word("risk.gamma risk.max_gamma max_gamma", "risk.max_gamma_fraction", "0.1", _fraction),
    # rates, folders, accounts
    Word(
        "rate interest_rate interest risk_free risk_free_rate rf rates.rate rates.risk_free",
        "rates.flat",
        "0.05",
        _fraction,
    ),
    Word(
        "data_dir data_path data_folder catalogue catalog_dir data.path data.dir data.folder",
        "data.catalog",
        "catalog",
    ),
    Word("output_dir log_dir runs_folder results_dir desk.runs", "desk.runs_dir", "runs"),
)
"""Words for keys that the strategy and the sections do not have themselves."""

OPTIONS: tuple[tuple[str, str, Reader], ...] = (
    ("from since begin start_date startdate date day session from_date begin_date on", "--start", _as_typed),
    ("to until till end_date enddate thru through to_date last", "--end", _as_typed),
    ("ticker tickers symbol underlying underlyings asset stock root instrument", "--symbols", _symbol),
    ("dataset data_set data_file source market feed", "--data", _as_typed),
    ("output out_dir outdir output_dir save results save_to out_file", "--out", _as_typed),
    ("verbose v log_level trace loglevel vv", "--debug", lambda _: None),
    ("random_state random_seed rng", "--seed", _as_typed),
    ("params settings conf cfg config_file configuration param_file", "--config", _as_typed),
    ("slippage fills fill execution", "--fill-model", lambda text: _FILLS(text) or "adverse"),
    ("broker exchange gateway venue_name", "--venue", _as_typed),
    ("structure_type shape option_strategy spread", "--structure", lambda text: _SHAPES(text) or text),
    ("direction", "--side", _SIDES),
    ("option_type call_put type", "--right", _RIGHTS),
    ("wing_width width", "--wing", _as_typed),
    ("report tearsheet tear_sheet", "--html", _as_typed),
    ("override param key option opt", "--set", _as_typed),
)
"""Words for options, of commands that have them; what a command has no option for, a key may do."""

_RANGES = frozenset({"date_range", "daterange", "period", "range", "dates"})
"""Options that hold both days."""

COMMANDS: Mapping[str, str] = {
    each: command
    for command, words in {
        "run": "buy sell trade order live paper start go long short",
        "sweep": "optimize optimise grid gridsearch tune hyperopt",
        "halt": "stop kill pause panic",
        "flatten": "close close-all closeall liquidate flat exit exit-all square-off unwind",
        "init": "login auth setup configure connect wizard credentials keys",
        "status": "positions position portfolio account balance orders holdings",
        "report": "pnl performance stats results summary tearsheet trades analyze analyse",
        "runs": "history list-runs",
        "report last --compare": "compare diff",
        "data ls": "list-data datasets data-list sessions",
        "data download": "download fetch",
        "data import": "import load",
        "price": "greeks option iv bs black-scholes",
        "scan": "screener screen find",
        "dashboard": "ui web gui serve monitor view",
        "config show": "settings show-config params",
        "why": "logs log explain",
        "doctor": "check health",
        "backtest": "simulate sim test bt",
        "today": "calendar events morning",
        "plugins": "strategies venues list",
        "run gamma-scalper --set recentre.roll_dte=7": "roll",
        "risk last": "margin stress var",
    }.items()
    for each in words.split()
}
"""Words for commands."""


STRATEGIES: Mapping[str, str] = {
    each: strategy
    for strategy, words in {
        "gamma-scalper": "gamma gamma-scalping gamma-scalp gammascalp scalper delta-hedge delta-hedging"
        " vol-arb",
        "zero-dte": "0dte 0-dte odte same-day intraday",
    }.items()
    for each in words.split()
}
"""Words for strategies."""


class Meaning(NamedTuple):
    """What a word of others means here."""

    key: str
    value: str
    more: tuple[str, ...]
    """Further settings, ``KEY=VALUE``."""
    why: str

    @property
    def settings(self) -> tuple[str, ...]:
        """All settings, ``KEY=VALUE``."""
        return (f"{self.key}={self.value}", *self.more)


def _folded(word: str) -> str:
    return word.strip().lower().replace("-", "_").replace(" ", "_")


@cache
def _rows() -> Mapping[str, Word]:
    found: dict[str, Word] = {}
    for row in WORDS:
        for word in row.words.split():
            found.setdefault(word, row)
    return found


_OF_FRACTIONS = {"pct", "percent", "percentage", "fraction"}
_FILLERS = _OF_FRACTIONS | {
    *("usd", "dollar", "value", "amount", "level", "limit", "tick", "bps", "ms"),
    *("time", "hour", "minute", "second", "the", "of", "at", "in", "per", "to", "before"),
}
"""Parts of a word that do not tell which key is meant: what a value is in, and what joins words."""
_ALIKE = {
    each: ours
    for ours, likes in {
        "start": "earliest begin first",
        "latest": "last end until",
        "exit": "close closing flatten leave",
        "hold": "held holding",
        "hedge": "rehedge rebalance",
        "method": "algo algorithm",
        "threshold": "tolerance",
        "target": "goal",
        "min": "minimum least",
        "max": "maximum most",
        "vol": "volatility",
    }.items()
    for each in likes.split()
}
"""Parts that stand for one another."""


@cache
def _parts(word: str) -> frozenset[str]:
    singular = (part.removesuffix("s") for part in word.replace(".", "_").split("_") if part)
    found = frozenset(_ALIKE.get(part, part) for part in singular)
    return found - _FILLERS or found


def _row_of_parts(word: str, section: str | None) -> Word | None:
    """Return the row with a word of the same parts, in any order and beside what a value is in.

    ``profit_target_usd`` is ``target_profit``. A row's word of this section goes before one of none; one of
    another section is not this one. What is in per cent is a fraction.
    """
    parts, is_fraction = _parts(word), not _OF_FRACTIONS.isdisjoint(word.split("_"))
    within = _parts(section) if section else frozenset()
    found: Word | None = None
    for each, row in _rows().items():
        own, _, name = each.rpartition(".")
        if is_fraction and row.reads is not _fraction:
            continue
        if own and section == own and (parts | within) in (_parts(each), _parts(name) | within):
            return row
        is_here = not own and (section is None or any(_is_near(key, section) for key in row.keys.split()))
        if found is None and is_here and parts in (_parts(each), _parts(each) | within):
            found = row
    return found


def key_meant(
    path: Sequence[str], value: object, knows: Callable[[str], bool], section: str | None
) -> Meaning | None:
    """Return the key that an unknown one means; None where the table has none that fits.

    Parameters
    ----------
    path
        Sections, if any, and the word, relative to the strategy.
    value
        What was given for it; empty for nothing.
    knows
        Tells of a key, relative to the strategy or with its full path, whether there is one.
    section
        Known section in which the word was written, as ``risk``: a word's key may then lie in another one of
        the strategy only where both are the strategy's. None: no known one.
    """
    words = [_folded(word) for word in path]
    row = _rows().get(".".join(words[-2:])) if len(words) > 1 else None
    if row is None:
        row = _rows().get(words[-1])
        key = None if row is None else next((each for each in row.keys.split() if knows(each)), None)
        if key is None or (section is not None and not _is_near(key, section)):
            row = _row_of_parts(words[-1], section)
            key = None if row is None else next((each for each in row.keys.split() if knows(each)), None)
        if key is not None and section is not None and not _is_near(key, section):
            return None
    else:
        key = next((each for each in row.keys.split() if knows(each)), None)
    if row is None or key is None:
        return None
    typed = "" if value is None else str(value).strip()
    read = row.reads(typed) or row.usual
    number = readings.number_meant(typed, lambda each: each > 0)
    if number is not None:
        number = f"{float(number) * _seconds_of(words[-1]):g}"
    more = tuple(
        each.replace("{+7}", _plus(read, 7)).replace("{typed}", number or "1800")
        for each in row.more.split()
        if knows(each.partition("=")[0].partition(".band_settings")[0])
    )
    return Meaning(key, read, more, row.why)


def _seconds_of(word: str) -> int:
    """Return what the unit in an interval's name is in seconds."""
    parts = {part.removesuffix("s") for part in word.split("_")}
    return 3600 if "hour" in parts else 60 if parts & {"minute", "min"} else 1


def _plus(text: str, more: int) -> str:
    return str(int(text) + more) if text.isdecimal() else text


ROOT_SECTIONS = frozenset(
    {"simulation", "risk", "data", "desk", "rates", "marketdata", "venue", "gex", "alerts"}
)


def _is_near(key: str, section: str) -> bool:
    """Return whether a key of the table may answer a word of a section: the same, or both the strategy's."""
    own, meant = key.partition(".")[0], section.partition(".")[0]
    if own in ROOT_SECTIONS or meant in ROOT_SECTIONS:
        return own == meant
    return True


def option_meant(word: str, value: str, known: Collection[str]) -> tuple[str, ...]:
    """Return the option that an unknown one means, with its value; empty where none of the table fits."""
    name = _folded(word.lstrip("-"))
    if name in _RANGES and {"--start", "--end"} <= set(known):
        days = re.findall(r"\d{4}-\d{2}-\d{2}", value)
        return "--start", days[0] if days else "2018-02-05", "--end", days[-1] if days else "2018-02-09"
    for words, option, reads in OPTIONS:
        if name in words.split() and option in known:
            text = reads(value) if value else None
            return (option,) if text is None else (option, text)
    return ()


def name_meant(kind: Literal["command", "strategy"], word: str, shapes: Collection[str] = ()) -> str | None:
    """Return what is written in the place of an unknown command or strategy; None where the table has none.

    ``shapes``: Names of all shapes: one in the place of a strategy is what it is to trade.
    """
    name = word.lower().replace("_", "-")
    if kind == "command":
        return COMMANDS.get(name)
    if name in STRATEGIES:
        return STRATEGIES[name]
    folded = _folded(word)
    shape = folded if folded in shapes else _SHAPES(word)
    if shape is not None:
        return f"gamma-scalper --structure {shape}"
    return f"gamma-scalper --symbols {word}" if word.isalpha() and word.isupper() and len(word) <= 5 else None
