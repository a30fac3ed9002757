"""Parts that our programs share: a desk assembled as in the product."""

import datetime as dt
from decimal import Decimal

import numpy as np

from scalpdesk import __version__
from scalpdesk.backtesting.runner import BacktestRunner
from scalpdesk.core.events import AccountSnapshot, HeldPosition
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import session_on
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.journal.log import JournalWriter
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.risk.gate import RiskGate
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.broker import Broker
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.hours import TapeHours

SESSION = session_on(dt.date(2018, 2, 5))
CASH = Decimal(1_000_000_000)


def make_tape(instruments, columns, *, sessions=(SESSION,)):
    """A tape of these columns; the first instrument is the underlying."""
    symbol = instruments[0].symbol
    return MarketTape("benchmark", "recorded", symbol, tuple(sessions), Instruments(instruments), columns)


def make_runner(tape, strategy, *, held=0, price=0.0, journal=None):
    """The runner and its engine; the account holds `held` shares of the underlying, bought at `price`."""
    book = tape.instruments
    market = MarketState(book)
    # wide enough for the work's block of shares and its hedge at every second quote; each check runs
    limits = RiskLimits(
        max_orders_per_minute=1_000_000,
        max_position_shares=10_000_000,
        max_window_shares=1_000_000_000,
        max_net_delta_fraction=1.0,
    )
    gate = RiskGate(limits)
    delta_engine = DeltaEngine(book, market, ContractPricer())
    number = book.id_of(tape.underlying)
    desk = Desk(book, market, delta_engine, gate, OrderManager("bench"), number, CASH)
    known = ()
    positions = {}
    if held:
        positions = {number: (Decimal(held), Decimal(f"{price:.4f}"))}
        at_ns = tape.sessions[0].open_ns
        lines = (HeldPosition(number, Decimal(held), Decimal(f"{price:.4f}")),)
        known = (AccountSnapshot(at_ns, at_ns, CASH, lines),)
    broker = Broker(book, TapeHours(tape.sessions), fill_model("cross"), fill_model("cross"))
    account = broker.open_account(AccountTerms(cash=CASH, positions=positions))
    engine = TradingEngine(desk, strategy)
    connection = BrokerConnection(broker, account)
    return BacktestRunner(tape, engine, connection, journal, known_at_open=known), engine


def make_journal(folder, tape):
    """The journal as a backtest keeps it: checksummed and chained, not synced to disk at each command."""
    header = JournalHeader(
        schema=SCHEMA,
        run_id=folder.name,
        strategy="benchmark",
        venue="simulated",
        mode="backtest",
        config={},
        config_hash="",
        build=__version__,
        instruments=tuple(tape.instruments),
        sessions=tape.sessions,
        data={"name": tape.name},
        started_ns=0,
    )
    return JournalWriter.create(folder, header, durability="none")


def sizes(count, shares):
    """A column of one displayed size."""
    return np.full(count, float(shares))
