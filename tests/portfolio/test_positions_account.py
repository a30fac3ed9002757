from decimal import Decimal

import pytest

from scalpdesk.instruments.contract import Equity
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.positions import Account, Position, mark_decimal, net_asset_value
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
HUNDRED = Equity("SPY", multiplier=100)


@pytest.fixture
def state():
    return MarketState(straddle_book())


@pytest.fixture
def engine(state):
    return DeltaEngine(state.instruments, state, ContractPricer())


def test_the_mark_is_the_mid_and_the_average_price_when_never_quoted(state, engine):
    position = Position(1, HUNDRED, D(1), D("4.44"))
    assert mark_decimal(engine, position) == D("4.44")
    state.apply_quote(quote(1, 0, 5.00, 5.15))
    assert mark_decimal(engine, position) == D("5.075")


def test_net_asset_value_is_cash_and_everything_at_its_mark(state, engine):
    state.apply_quote(quote(0, 0, 499.99, 500.01))
    state.apply_quote(quote(1, 0, 5.00, 5.10))
    held = [Position(0, Equity("SPY"), D(-50), D(490)), Position(1, HUNDRED, D(2), D(4))]
    assert net_asset_value(Account(D(1_000)), held, engine) == D(1_000) - 25_000 + 1_010
    assert net_asset_value(Account(D("-7.5")), [], engine) == D("-7.5")
