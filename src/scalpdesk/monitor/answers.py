"""Shapes of the dashboard's answers, which its OpenAPI document shows.

Numbers are numbers, in the unit that their shape names, and ledger amounts are exact as plain text, in the
currency of the account. Words are sentences, labels and New York times. A float that is not finite is sent as
null.
"""

from typing import (
    Any,
    NotRequired,  # pydantic refuses the one of Python 3.11
)

import msgspec
from typing_extensions import TypedDict

from scalpdesk.monitor.described import Described
from scalpdesk.report.figures import Shown
from scalpdesk.report.trades import Trade


class Empty(TypedDict):
    """A page without content yet: a sentence says why."""

    empty: str


class NoRun(TypedDict):
    """Nothing was done or found: what was wrong and what helps."""

    error: str
    fix: NotRequired[str]


class Piece(TypedDict):
    """A piece of a sentence."""

    text: str
    tone: NotRequired[str]


class RunAccount(TypedDict):
    """The account of a run; ``kind`` is SIMULATED, SANDBOX, PAPER, LIVE or UNKNOWN."""

    kind: str
    label: str
    last4: str


class WorstCase(TypedDict, total=False):
    """The worst case of the book beside the P&L at which the day's loss limit is reached."""

    worst_pnl: float | None
    limit: str | None
    worst_fraction: float | None
    worst_definition: str


class Alarm(TypedDict):
    """The first open alarm without an acknowledgement, and the number of these alarms."""

    what: str
    number: int


class Head(WorstCase):
    """The header of every page; keys after ``subtitle`` are of a run whose header was read.

    ``has_scalps``: Whether the run has traded options scalps.
    """

    account: RunAccount
    run_id: NotRequired[str]
    state: str
    cut: NotRequired[str | None]
    problem: str | None
    title: str
    subtitle: str
    mode: NotRequired[str]
    mode_seconds: NotRequired[float]
    mode_reason: NotRequired[str]
    phase: NotRequired[str]
    age_seconds: NotRequired[float | None]
    stale: NotRequired[bool]
    data: NotRequired[str]
    holds: NotRequired[str]
    works: NotRequired[int]
    pnl: NotRequired[str]
    currency: NotRequired[str]
    now_ns: NotRequired[int]
    clock: NotRequired[str]
    speed: NotRequired[float | None]
    session: NotRequired[str]
    alarm: NotRequired[Alarm | None]
    starting: NotRequired[bool]
    has_scalps: NotRequired[bool]


Bar = TypedDict(
    "Bar",
    {"name": str, "pnl": str, "from": float, "to": float},
)
Bar.__doc__ = "A bar of the P&L by source, from one amount to another in the currency of the account."


class Leg(TypedDict):
    """A position: held, entry, mark, Greeks of the whole position, P&L open.

    Greeks in the units of the book's; ``vol`` a fraction a year on the variance clock. Prices are told with
    so many ``price_decimals``.
    """

    symbol: str
    label: str
    expiry: str | None
    quantity: str
    entry: float | None
    mark: float | None
    price_decimals: int
    is_coin: bool
    verdict: str
    vol: float | None
    open_pnl: str | None
    delta_shares: float | None
    gamma_shares_per_usd: float | None
    theta_usd_per_day: float | None
    vega_usd_per_point: float | None
    is_added: NotRequired[bool]


class HeldGreeks(TypedDict):
    """Greeks of the book: shares, shares a unit of currency, currency a day, currency a volatility point."""

    net_delta_shares: float | None
    gamma_shares_per_usd: float | None
    theta_usd_per_day: float | None
    vega_usd_per_point: float | None


class DeadlineRow(TypedDict):
    """An instant ahead, in UTC nanoseconds and as New York's time.

    ``kind`` is ``session``, ``exit``, ``last_order``, ``expiry``, ``dividend`` or ``event``; ``symbols`` are
    the contracts that it is of.
    """

    what: str
    kind: str
    symbols: list[str]
    at_ns: int
    at: str
    seconds: int


class Unquoted(TypedDict):
    """The part of NAV that stands on no quote, with its bounds, since a New York time."""

    worth: str
    least: str
    most: str
    since: str


class StructureOutlook(TypedDict):
    """Where held options earn at their nearest expiry, by the prices paid and before fees.

    ``earns``: Prices of the underlying between which they earn, None without a bound; ``break_evens`` their
    ends. ``most_loss`` and ``most_gain`` are None without a bound; where ``is_exact`` is false a later option
    is valued at its volatility of now. ``chance`` is that of earning there, by the implied volatilities.
    """

    earns: list[list[float | None]]
    break_evens: list[float]
    most_loss: float | None
    most_gain: float | None
    chance: float
    is_exact: bool


class HeldStructure(TypedDict):
    """The held options of one underlying: in words, and what they earn by themselves.

    ``cash`` is what was received (above zero) or paid for them; ``outlook`` is None while the spot or a price
    is not known.
    """

    underlying: str
    words: str
    cash: str
    open_pnl: str | None
    spot: float | None
    strikes: list[float]
    outlook: StructureOutlook | None


class StructureCurve(TypedDict):
    """P&L of the held options of one underlying since they were opened, by spot: today and at expiry.

    ``entry_spot``: The spot when options came to be held; None where it was not known.
    """

    underlying: str
    spots: list[float]
    today: list[float]
    expiry: list[float]
    entry_spot: float | None


class PositionBlock(TypedDict):
    """Legs, Greeks, first expiry and the next deadline; ``beside`` names what is held beside options.

    ``break_even`` is the move of a day, a fraction of spot, at which gamma and theta come to
    nothing.
    """

    first_expiry: str | None
    first_expiry_days: int | None
    unquoted: Unquoted | None
    structure: str | None
    structures: list[HeldStructure]
    beside: str
    legs: list[Leg]
    greeks: HeldGreeks
    delta_decimals: int
    money_decimals: int
    deadline: DeadlineRow | None
    break_even: float | None


class DecisionLine(TypedDict):
    """A decision: when, what, why, spot."""

    number: int
    ts_ns: int
    time: str
    day: str
    kind: str
    taken: bool
    what: str
    way: str
    why: str
    reasons: list[str]
    spot: float | None
    orders: list[str]


class PremiumBlock(TypedDict):
    """Premium of one set of the held options, as quoted, and its mean of the session.

    ``mean_name`` is ``VWAP`` where trades of every leg are known, else ``TWAP``, of the quotes by time.
    ``amount``: the premium times the contract size.
    """

    structure: str
    now: float | None
    amount: float | None
    mean: float | None
    mean_name: str
    price_decimals: int


class Costs(TypedDict):
    """Costs of the session, positive; those of hedging also as a share of what gamma and theta earned.

    ``hedging`` and ``entry_exit`` are null while no option was held.
    """

    total: str
    hedging: str | None
    entry_exit: str | None
    share_of_gamma_and_theta: float | None


class DeskPage(TypedDict):
    """The Desk page: verdict, P&L by source, position, last decisions.

    ``loss_left`` is what of ``daily_loss_limit`` the day has left. ``residual_share`` is that of the total;
    ``exposure`` a sentence on the deltas of several underlyings.
    """

    question: str | None
    verdict: list[Piece]
    underlying: str
    spot: float | None
    day_low: float | None
    day_high: float | None
    pnl: str
    hedges: int
    fills: int
    parts: list[Bar]
    costs: Costs
    residual_share: float | None
    exposure: str
    band_shares: float | None
    premium: PremiumBlock | Empty
    position: PositionBlock
    loss_left: str
    daily_loss_limit: str
    decisions: list[DecisionLine]
    taken: int
    skipped: int


class DeskDocument(TypedDict):
    """The Desk page with its header."""

    head: Head
    desk: DeskPage | Empty


class StreamState(TypedDict):
    """Data of an event of the stream: the newest state."""

    version: int
    stamp_ms: int
    head: Head
    desk: DeskPage | Empty
    series: NotRequired["Series"]
    fills: NotRequired[int]


class Trips(TypedDict):
    """Number, wins and P&L of closed trades."""

    number: int
    wins: int
    win_rate: float | None
    pnl: str


class RoundTrips(Trips):
    """The same, and by the signal that opened them."""

    by_signal: dict[str, Trips]


class SessionResult(TypedDict):
    """P&L of a session."""

    session: str
    pnl: str


class VolatilityRegime(TypedDict):
    """The forecast of the underlying's volatility, a fraction a year, and its regime."""

    regime: str | None
    forecast_vol: float | None
    model: str | None


class Risk(TypedDict):
    """Capital and limits."""

    margin: dict[str, Any] | None
    equity: str
    capital_tied_up: str
    capital_fraction: float | None
    max_capital_fraction: float
    daily_loss_limit: str
    loss_left: str
    losses_in_a_row: int
    max_losses_in_a_row: int


class Unread(TypedDict):
    """A run whose header was not read yet."""

    run_id: str
    pnl: None


class Performance(TypedDict):
    """Trading results: P&L by part as in the run summary, round trips, risk."""

    run_id: str
    strategy: str
    venue: str
    account_kind: str
    currency: str
    as_of: str | None
    nav: str
    nav_change: str
    pnl: dict[str, str]
    session: str | None
    session_pnl: str
    session_parts: dict[str, str]
    pnl_detail: dict[str, Any]
    fills: int
    orders: int
    hedges: int
    decisions: int
    round_trips: RoundTrips
    daily: list[SessionResult]
    strategies: dict[str, dict[str, Any]] | None
    underlyings: dict[str, dict[str, Any]] | None
    exposure: dict[str, Any] | None
    volatility_regime: VolatilityRegime
    risk: Risk
    mode: str
    end_positions: dict[str, str]


class Positions(TypedDict):
    """The held positions: options by expiry, strike and right, then the rest."""

    positions: list[Leg]


class NoGreeks(TypedDict):
    """A run that holds nothing that is known yet."""

    greeks: None


class BookGreeks(HeldGreeks):
    """Greeks of the book: shares, shares a unit of currency, currency a day and a volatility point."""

    as_of: str | None
    option_delta_shares: float | None
    owned_shares: float | None
    band_shares: float | None


class ListedContracts(TypedDict):
    """Contracts that a look can add: by expiry and strike the symbols of ``call`` and ``put``."""

    underlying: str | None
    expiries: dict[str, dict[str, dict[str, str]]]
    shapes: list[str]


class FlattenPlan(TypedDict):
    """The orders that flattening would send, and their estimated cost."""

    title: str
    legs: str
    is_flat: bool
    cost: NotRequired[str | None]


class FillColumns(TypedDict):
    """Executions in order: UTC seconds, price, +1 bought or −1 sold, whether it hedged, a text."""

    t: list[float]
    price: list[float]
    side: list[int]
    hedge: list[bool]
    text: list[str]


Fills = TypedDict("Fills", {"run": str, "from": int, "columns": FillColumns})
Fills.__doc__ = "Executions of a run."
Series = TypedDict(
    "Series",
    {"run": str | None, "generation": int, "from": int, "columns": dict[str, list[float | None]]},
)
Series.__doc__ = "Columns of the charts from a position on; the positions of another generation start at 0."


class Ladder(TypedDict):
    """P&L at moves of the spot (fractions) by changes of volatility (0.01 a point), in the book's currency.

    ``heat`` is a cell's share of the largest gain, or of the largest loss, negative.
    """

    moves: list[float]
    vol_points: list[float]
    pnl: list[list[float]]
    heat: list[list[float]]


class Payoff(TypedDict):
    """P&L by spot at the chosen date, and at the first expiry ``days`` ahead."""

    spots: list[float]
    now: list[float]
    expiry: list[float]
    days: float


class ExpiryRow(TypedDict):
    """An option on its last day: how near its strike is, until when one may act, and what it leaves.

    ``distance`` is how far it is in the money, in standard deviations of what is left; ``chance`` of ending
    in the money; ``exercised`` and ``kept`` amounts now; the last two, shares held tomorrow.
    """

    symbol: str
    label: str
    units: float
    seconds_left: float
    distance: float | None
    chance: float | None
    is_pinned: bool
    order: str
    notice: str | None
    exercised: str | None
    kept: str | None
    shares_if_exercised: float | None
    shares_if_not: float | None


class ExpiryCard(TypedDict):
    """Options that expire today, and a sentence for each underlying on what is held tomorrow."""

    legs: list[ExpiryRow]
    tomorrow: list[str]


class PositionPage(PositionBlock):
    """The Position page; ``empty`` says that nothing is held, ``note_ladder`` why there is no payoff."""

    deadlines: list[DeadlineRow]
    curves: NotRequired[list[StructureCurve]]
    expiry_day: ExpiryCard | None
    spot: float | None
    days: float
    most_days: float
    empty: NotRequired[str]
    currency: NotRequired[str]
    at: NotRequired[str]
    smile: NotRequired[str]
    note_ladder: NotRequired[str]
    payoff: NotRequired[Payoff]
    break_evens: NotRequired[list[float]]
    sentence: NotRequired[str]
    ladder: NotRequired[Ladder]


class RiskMeasure(TypedDict):
    """Loss of a day at a confidence: value at risk and expected shortfall, losses positive."""

    method: str
    confidence: float
    var: float | None
    es: float | None
    scenarios: int


class AloneMeasure(TypedDict):
    """Value at risk of one underlying's part by itself."""

    underlying: str
    method: str
    confidence: float
    var: float | None


class StressRow(TypedDict):
    """P&L of the book in the published move of a day: fractions by underlying, and the volatility index."""

    day: str
    label: str
    moves: dict[str, float]
    index_from: float
    index_to: float
    pnl: float | None
    source: str


class RiskHistory(TypedDict):
    """Daily moves that the risk was worked out by."""

    sources: dict[str, str]
    moves: int
    first: str
    last: str


class RiskCorrelation(TypedDict):
    """Correlations of the moves, of the sample and exponentially weighted, in the order of ``symbols``."""

    symbols: list[str]
    sample: list[list[float]]
    ewma: list[list[float]]


class RiskWorst(TypedDict):
    """The worst case of the book: P&L in its currency, and the move of spot and volatility that give it."""

    pnl: float
    move: float
    vol_points: float
    orders_filled: bool
    smile: str
    definition: str


class BookRisk(TypedDict):
    """Risk of the book, amounts in its currency; ``current`` is false while a newer one is computed."""

    run: str
    current: bool
    as_of: str
    currency: str
    horizon: str
    smile: str
    history: RiskHistory | None
    measures: list[RiskMeasure]
    alone: list[AloneMeasure]
    correlation: RiskCorrelation | None
    stress: list[StressRow]
    worst_case: RiskWorst
    notes: list[str]


class SinceClose(TypedDict):
    """What became of the account since the last close: an assignment, a dividend, a fill, an alarm."""

    at: str
    kind: str
    text: str
    cash: str | None


class ExpiringHolding(TypedDict):
    """An option that is held and ends within a week: when, until when it can be sold, what it takes."""

    label: str
    quantity: str
    expires: str
    last_order: str
    takes: str


class LimitLeft(TypedDict):
    """What a limit leaves, in the account's currency."""

    name: str
    left: str
    limit: str
    key: str


class TodayPage(TypedDict):
    """A morning: is the account as it was left, what came since, what expires, what is on, what is left.

    ``is_as_left``: None where nobody has asked the account since. ``since``: From when things count as new.
    ``next_line``: The command to type next.
    """

    day: str
    opens: str
    run_id: str
    venue: str
    account: str
    state: str
    currency: str
    nav: str
    holds: str
    structures: list[str]
    is_as_left: bool | None
    account_text: str
    differences: list[str]
    since: str
    happened: list[SinceClose]
    expires: list[ExpiringHolding]
    events: list[str]
    volatility: str
    cheap: str
    limits: list[LimitLeft]
    not_told: str
    next_line: str


class NoDeskYet(TypedDict):
    """A folder in which no desk has traded."""

    empty: str
    events: list[str]
    next_line: str


class TermPoint(TypedDict):
    """Volatility at the money of an expiry, per cent a year."""

    expiry: str
    days: int
    atm: float


class Smile(TermPoint):
    """The fitted smile of an expiry, in per cent a year; ``quoted`` is null between the quotes."""

    forward: float
    strikes: list[float]
    vols: list[float]
    quoted: list[float | None]
    atm_on_clock: float


class HeatCell(TypedDict):
    """A volatility, a fraction a year; ``heat`` from 0, the lowest, to 1."""

    vol: float | None
    heat: float | None


class HeatRow(TypedDict):
    """Volatilities of an expiry by move from spot."""

    expiry: str
    days: int
    cells: list[HeatCell]


class Heat(TypedDict):
    """Volatility by expiry and move of the strike from the spot, a fraction."""

    moves: list[float]
    rows: list[HeatRow]


class GammaBar(TypedDict):
    """Dealer gamma at a strike, USD of delta per move of 1 %; ``share`` of the widest."""

    strike: float
    usd: float
    share: float


class GammaByStrike(TypedDict):
    """Dealer gamma by strike, USD of delta per move of 1 %; ``reason`` says why the sum is not known."""

    reason: str | None
    strikes: list[GammaBar]
    covers: NotRequired[dict[str, int | None]]
    covers_text: NotRequired[str]
    net_usd: NotRequired[float | None]
    call_wall: NotRequired[float | None]
    put_wall: NotRequired[float | None]


class Exposure(TypedDict):
    """Dealer gamma of a symbol as a source publishes it, USD of delta per move of 1 %."""

    symbol: str
    usd: float | None
    source: str


class VolatilityPage(TypedDict):
    """Implied, realised and forecast volatility, smiles, term structure and dealer gamma.

    Volatilities are fractions a year on the variance clock; ``implied`` is of the book, and at the money in
    ``implied_days`` where nothing is held. ``opened`` in UNIX seconds.
    """

    spot: float
    opened: float
    implied: float | None
    implied_days: int | None
    realised: float | None
    paid: float | None
    forecast: float | None
    forecast_low: float | None
    forecast_high: float | None
    forecast_model: str | None
    forecast_days: int | None
    forecast_reason: str | None
    sentence: str
    verdict: str
    day: str | None
    smiles: list[Smile]
    term: list[TermPoint]
    heat: Heat
    gex: GammaByStrike
    exposures: list[Exposure]


class Picked(TypedDict):
    """A contract with its score, or why the selector refuses it; spread a fraction of the mid, vol a year."""

    symbol: str
    label: str
    bid: float | None
    ask: float | None
    spread: float | None
    delta: float | None
    vol: float | None
    open_interest: int
    volume: float | None
    score: float | None
    why: str


class PickerRow(TypedDict):
    """Call and put of a strike."""

    strike: float
    call: NotRequired[Picked]
    put: NotRequired[Picked]


class PickerPage(TypedDict):
    """The chain of the nearest expiry, and which limits judge it."""

    underlying: str
    spot: float
    price_decimals: int
    expiry: str
    days: int
    rules: str
    rows: list[PickerRow]


class OrderMoney(TypedDict):
    """What executions came to: realised P&L at average cost before fees, loss against a mid, fees.

    ``against_mid`` is measured from the instrument's mid when the order was decided; a cost is negative.
    Amounts are in ``currency``, which is the instrument's.
    """

    realised: str | None
    against_mid: str | None
    fee: str
    currency: str


class OrderFill(OrderMoney):
    """An execution of an order."""

    time: str
    quantity: str
    price: float


class OrderStep(TypedDict):
    """A change of an order's state, so long after it was sent."""

    state: str
    time: str
    after_ms: float
    reason: str


class OrderLine(OrderMoney):
    """An order with its fills and its changes; ``mid`` was that of its instrument when it was decided."""

    id: str
    group: str
    state: str
    label: str
    symbol: str
    way: str
    what: str
    side: str
    quantity: str
    filled: str
    price_decimals: int
    average: float | None
    mid: float | None
    fills: list[OrderFill]
    type: str
    limit: float | None
    trigger: float | None
    purpose: str
    reason: str
    venue_id: str
    created_ns: int
    time: str
    day: str
    steps: list[OrderStep]


class FoldedOrders(OrderMoney):
    """Orders in a row that are alike but for quantity, price and time, the newest first.

    ``orders`` are their ids; ``quantity``, ``filled`` and the amounts are sums, ``average`` the mean price of
    what was filled.
    """

    orders: list[str]
    quantity: str
    filled: str
    fill_count: int
    average: float | None


class Latency(TypedDict):
    """Milliseconds from an order to its last state."""

    p50_ms: float | None
    p99_ms: float | None


class OfRun(TypedDict, total=False):
    """The run that a page is of; ``reading`` says how far its journal has been read."""

    run: str
    day: str | None
    reading: str | None
    problem: str | None


class OrderTotals(OrderMoney):
    """All orders of the run; ``elsewhere`` is what expiry, exercise and settlement realised."""

    elsewhere: str


class OrdersPage(OfRun):
    """Orders by group, unknown orders first; the next page takes ``older`` as its ``before``."""

    empty: NotRequired[str]
    sentence: NotRequired[str]
    counts: dict[str, int]
    orders: list[OrderLine]
    folded: NotRequired[list[FoldedOrders]]
    older: NotRequired[dict[str, str]]
    total: NotRequired[int]
    latency: NotRequired[Latency]
    totals: NotRequired[OrderTotals]


class FoldedDecision(DecisionLine):
    """A decision, or like ones in a row, the newest; ``first`` is the oldest of them.

    ``members`` are those of several that were taken, the newest first; skips are counted alone.
    """

    count: int
    members: list[DecisionLine]
    first: int
    first_time: str
    facts: dict[str, float | str | None]


class Taken(TypedDict):
    """Decisions of a kind."""

    taken: int
    skipped: int


class DecisionsPage(OfRun):
    """Decisions, newest first; the next page takes ``older`` as its ``before``."""

    empty: NotRequired[str]
    sentence: NotRequired[str]
    by_kind: NotRequired[dict[str, Taken]]
    found: NotRequired[int]
    older: NotRequired[int | None]
    decisions: list[FoldedDecision]


class ListedRun(TypedDict):
    """A run on record; amounts exact as text, in its currency with so many ``decimals``."""

    run_id: str
    started: str
    played: str | None
    """Market time of its first and last event, New York."""
    state: str
    """``ended``, ``cut short``, ``running`` or ``not over``."""
    sessions_traded: int | None
    sharpe: float | None
    """Null with fewer than five sessions traded."""
    drawdown: str | None
    """Deepest fall of the sessions' closes, of more than one; null of a run cut short."""
    drawdown_of_marks: str | None
    """Deepest fall from one mark to a later one, within sessions too; null of a run cut short."""
    underlying: str | None
    strategy: str
    mode: str
    market: str
    session: str | None
    hedges: int
    fills: int
    currency: str
    decimals: int
    pnl: str
    parts: dict[str, str]
    sealed: bool
    cut: str | None
    seed: int | None
    settings: list[str]
    decision_hash: str
    tags: list[str]
    note: str
    noted: list[str]
    """What is noted of its days and trades, a line each."""


class ModelRow(TypedDict):
    """A run under a fill model; ``own`` is the run itself."""

    name: str
    own: bool
    pnl: str
    costs: str
    hedges: int


class ModelBlock(TypedDict):
    """A run under several fill models, with a sentence."""

    note: str
    rows: list[ModelRow]


class PathBlock(TypedDict):
    """A run's P&L among those of redrawn paths of its session, and the median of all."""

    own: float
    others: list[float]
    median: float


class CanRerun(TypedDict):
    """Ways in which a run can be made again."""

    fill_models: bool
    paths: bool


class RerunsPage(TypedDict):
    """Reruns of a run: ``state`` is none, running, ended, cancelled or failed; results so far.

    ``refusal`` says why the run cannot be made again; ``command`` does the same on the command line.
    """

    run_id: str
    state: str
    done: int
    total: int
    what: str
    problem: str | None
    refusal: str | None
    can: CanRerun
    command: str
    models: ModelBlock | None
    paths: PathBlock | None


class Note(TypedDict):
    """What a person noted of a run, a day of it (``name`` is the day) or a trade (its number)."""

    run_id: str
    kind: str
    name: str
    tags: list[str]
    note: str
    changed_ns: int


class Notes(TypedDict):
    """Notes of a run, or of all."""

    notes: list[Note]


class CalendarRow(TypedDict):
    """A day, month, weekday, hour, range of days to expiry or regime; P&L exact as text."""

    name: str
    pnl: str
    sessions: int | None
    trades: int | None
    hit_rate: float | None


class ShownField(TypedDict):
    """A field of a row, and how it is shown: heading, kind of its values, what goes first without room."""

    name: str
    head: str
    kind: str
    goes: int


class JournalTrade(Described, Trade, frozen=True, kw_only=True):
    """A trade of a run in words and figures: exact amounts as text, credits above zero."""

    run_id: str


class DiaryPage(TypedDict):
    """Calendar of P&L, trades and notes of runs of one account; ``left_out`` says why others are not in."""

    runs: list[str]
    left_out: dict[str, str]
    currency: str
    account: str
    said: str
    decimals: int
    total: str
    days: list[CalendarRow]
    months: list[CalendarRow]
    weekdays: list[CalendarRow]
    hours: list[CalendarRow]
    days_to_expiry: list[CalendarRow]
    regimes: list[CalendarRow]
    trade_columns: list[ShownField]
    trades: list[JournalTrade]
    notes: list[Note]


def shown_fields(kind: type[msgspec.Struct]) -> list[ShownField]:
    """Return the fields of a struct that are shown, in order."""
    return [
        {"name": each.name, "head": each.head, "kind": each.kind.value, "goes": each.goes}
        for each in Shown.of(kind)
    ]


class Runs(TypedDict):
    """Runs on record, ``found`` of ``total`` by a search.

    ``unreadable`` says by name why the others are not shown.
    """

    runs: list[ListedRun]
    unreadable: dict[str, str]
    found: NotRequired[int]
    total: NotRequired[int]
    empty: NotRequired[str]


class MarkColumns(TypedDict):
    """A run at its marks: UTC seconds, P&L, price of the underlying."""

    t: list[float]
    pnl: list[float]
    spot: list[float | None]


class RunParity(TypedDict):
    """A live run against its backtest: the number to watch, and the parts of the difference."""

    headline: str
    parts: dict[str, str]


class Run(ListedRun):
    """A run with its summary and its marks; ``parity`` where it was compared with its backtest."""

    summary: dict[str, Any]
    columns: MarkColumns
    sessions: list[str]
    parity: RunParity | None


class ScalpsPage(TypedDict):
    """Options scalps on record."""

    open: list[dict[str, Any]]
    history: list[dict[str, Any]]
    performance: dict[str, Any] | None


class OpenAlertRow(TypedDict):
    """An alert whose cause stands."""

    key: str
    level: str
    what: str
    since_ns: int
    acknowledged: str | None
    held: str
    topic: NotRequired[str]
    did: NotRequired[str]
    asked: NotRequired[str]


class SentAlert(TypedDict):
    """A message that was sent."""

    ts_ns: int
    level: str
    title: str
    text: str
    ago: str


class Alerts(TypedDict):
    """Open alerts, and the latest messages."""

    open: list[OpenAlertRow]
    sent: list[SentAlert]
    is_sent: bool | None


class CardLine(TypedDict):
    """A line of a card."""

    label: str
    text: str | None
    tone: str


class Card(TypedDict):
    """A card of an installed package; ``problem`` says why it has no rows."""

    name: str
    title: str
    rows: list[CardLine]
    problem: str | None


class Cards(TypedDict):
    """Cards that installed packages add to the Desk page."""

    cards: list[Card]


class ServerHealth(TypedDict):
    """Whether the server answers, and what it follows."""

    ok: bool
    run_id: str | None
    running: bool
    problem: str | None


class FollowedRun(TypedDict):
    """Progress of reading the followed run."""

    run_id: str
    running: bool
    sealed: bool
    cut: str | None
    problem: str | None
    events: int
    journal_bytes: int
    marks: int
    data_age_seconds: float | None
    journal_age_seconds: float | None
    speed: float | None
    evaluations: int | None
    quote_oddities: dict[str, int]
    order_latency: Latency | None


class Server(TypedDict):
    """Clients, publishing times and memory of the server."""

    version: str
    clients: int
    dropped_states: int
    published_states: int
    publish_ms_p50: float | None
    publish_ms_p99: float | None
    resident_bytes: int
    problem: str | None


class Metrics(TypedDict):
    """System performance: the followed journal, the server, and the desk's own answer."""

    run: FollowedRun | None
    server: Server
    desk: dict[str, Any] | None


class Acknowledged(TypedDict):
    """Beginning of the keys that were acknowledged; all when empty."""

    acknowledged: str


class CommandAnswer(TypedDict):
    """Modes before and after a command, and how many cancels left; ``note`` says what is still to come."""

    was: str
    mode: str
    cancels: int
    note: NotRequired[str]
    milliseconds: float
    run_id: NotRequired[str]
    venue: NotRequired[str]
    account: NotRequired[str]
    folder: NotRequired[str]
    """Folder in which the desk was started."""


class LoggedIn(TypedDict):
    """The role of the session."""

    role: str
