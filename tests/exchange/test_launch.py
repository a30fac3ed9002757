"""What a served exchange says of itself as it begins."""

from scalpdesk.exchange.launch import LaunchPlan, build_server, ready_line
from scalpdesk.exchange.market import MarketOptions
from scalpdesk.exchange.source import TapeSource
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.served import coin_day


def test_the_ready_line_names_the_protocol_that_is_served():
    for venue, there, absent in (("deribit", "deribit", "alpaca"), ("alpaca", "alpaca", "deribit")):
        plan = LaunchPlan(TapeSource(coin_day()), MarketOptions(), protocol=venue, cash=2.0, currency="BTC")
        line = ready_line(build_server(plan, ManualClock(0)))
        assert line["urls"][absent] is line["keys"][absent] is None
        assert line["urls"][there].startswith("http://127.0.0.1:")
        assert line["keys"][there] == [line["accounts"][0]["key"], line["accounts"][0]["secret"]]
