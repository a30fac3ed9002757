"""Alerts: what is worth one, when it goes out, to whom, and what comes back; a server stands for the net."""

import json
import os
import stat
import threading
from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import pytest
from msgspec import structs

from scalpdesk.alerts import channels
from scalpdesk.alerts.book import AlertBook, Message
from scalpdesk.alerts.channels import Channels
from scalpdesk.alerts.rules import Alert, DeskRules, Level, daily_summary, status_text
from scalpdesk.alerts.service import AlertOutbox, AlertService, WatchOrders
from scalpdesk.cli.main import main
from scalpdesk.config.schema import Secret
from scalpdesk.config.settings import AlertSettings, CredentialsSection, DeskConfig, quiet_span
from scalpdesk.core.enums import ChangeCause, DecisionKind, Mode
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.events import AccountLimits, QuoteEvent
from scalpdesk.core.intents import Decision
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.postings import Posting
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.live.watchdog import ACTED_FILE
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.portfolio.sub_books import SubBooks
from scalpdesk.web.feed import STATE_FILE, Topic, acknowledge, alerts_of
from tests.web.reading import read_whole

SECOND_NS = 10**9
NOON_NS = int(datetime(2026, 3, 4, 17, tzinfo=UTC).timestamp()) * SECOND_NS
"""Noon in New York."""
HALT = Alert("mode HALTED", Level.ALARM, "The desk is HALTED.", "sends nothing.", "Look.")
SLOW = Alert("residual", Level.WARNING, "Residual is 7 %.", "goes on.", "Compare.")
UP = {"differences": [], "connection": {"streams": {"orders": True, "stocks": True}}}


class Hand:
    """A clock that a test moves."""

    def __init__(self, now_ns=NOON_NS):
        self.ns = now_ns

    def now_ns(self):
        return self.ns

    def move(self, seconds):
        self.ns += int(seconds * SECOND_NS)


# the book ---------------------------------------------------------------------------------------


def told(book, now_ns):
    return [(message.level, message.body) for message in book.due(now_ns)]


def test_an_alarm_goes_at_once_and_takes_what_waits_with_it():
    book = AlertBook(AlertSettings())
    book.update([SLOW], [], NOON_NS)
    assert told(book, NOON_NS) == []  # waits for more of its kind
    book.update([SLOW, HALT], [], NOON_NS + SECOND_NS)
    ((level, body),) = told(book, NOON_NS + SECOND_NS)
    assert level is Level.ALARM
    assert body == (
        "ALARM: The desk is HALTED.\nThe desk: sends nothing.\nPlease: Look.\n\n"
        "WARNING: Residual is 7 %.\nThe desk: goes on.\nPlease: Compare."
    )


def test_the_page_lists_the_gravest_first_and_those_of_one_level_as_they_came():
    book = AlertBook(AlertSettings())
    other = Alert("quote 3", Level.WARNING, "No quote.")
    book.update([SLOW], [], NOON_NS)
    book.update([SLOW, other, HALT], [], NOON_NS + SECOND_NS)
    assert [row["key"] for row in book.document()["open"]] == ["mode HALTED", "residual", "quote 3"]


class Ungrouped(AlertSettings, frozen=True):
    group_seconds = 0.0


def test_warnings_of_ten_seconds_are_one_message_and_a_condition_that_lasts_is_sent_once():
    book = AlertBook(AlertSettings())
    other = Alert("quote 3", Level.WARNING, "No quote.")
    for second in range(60):
        now_ns = NOON_NS + second * SECOND_NS
        book.update([SLOW, other] if second >= 4 else [SLOW], [], now_ns)
        found = told(book, now_ns)
        assert bool(found) is (second == 10), second
        if found:
            assert found[0][1].count("WARNING:") == 2


def test_a_condition_that_flickers_is_over_once_and_is_not_sent_again_for_a_while():
    book = AlertBook(Ungrouped())
    sent = []
    for second in range(400):
        now_ns = NOON_NS + second * SECOND_NS
        holds = second < 5 or 10 <= second < 20 or 50 <= second < 60 or second >= 330
        book.update([SLOW] if holds else [], [], now_ns)
        sent += [(second, body.partition("\n")[0], body.partition("(")[2]) for _, body in told(book, now_ns)]
    assert sent == [
        (0, "WARNING: Residual is 7 %.", ""),
        (34, "OVER after 19 s: Residual is 7 %.", ""),  # gone at 5 s for less than the 15 s that count
        (330, "WARNING: Residual is 7 %.", "1 times more since the last message of it)"),
    ]


def test_quiet_hours_hold_back_all_but_alarms():
    night_ns = NOON_NS + 11 * 3_600 * SECOND_NS
    book = AlertBook(AlertSettings(quiet_hours="22:00-07:00"))
    book.update([SLOW], [], night_ns)
    assert told(book, night_ns + 3_600 * SECOND_NS) == []
    morning_ns = night_ns + 8 * 3_600 * SECOND_NS
    assert [level for level, _ in told(book, morning_ns)] == [Level.WARNING]
    book.update([SLOW, HALT], [], night_ns)
    assert [level for level, _ in told(book, night_ns)] == [Level.ALARM]
    with pytest.raises(ConfigError, match="two times of day"):
        quiet_span("22 to 7")


def test_an_alarm_that_comes_again_in_quiet_hours_is_not_called_over():
    night_ns = NOON_NS + 11 * 3_600 * SECOND_NS
    book = AlertBook(AlertSettings(quiet_hours="22:00-07:00"))
    sent = []
    for minute in range(10):
        now_ns = night_ns + minute * 60 * SECOND_NS
        book.update([] if minute in {2, 3} else [HALT], [], now_ns)  # over at the second minute
        sent += [(minute, body.partition("\n")[0], "OVER" in body) for _, body in told(book, now_ns)]
    assert sent == [(minute, "ALARM: The desk is HALTED.", False) for minute in (0, 5)]


def test_an_alarm_is_repeated_ever_more_rarely_until_it_is_acknowledged():
    book = AlertBook(AlertSettings(escalate_seconds=300.0))
    sent = []
    for minute in range(120):
        now_ns = NOON_NS + minute * 60 * SECOND_NS
        book.update([HALT, SLOW], [], now_ns)
        sent += [(minute, message.escalated) for message in book.due(now_ns)]
        if minute == 100:
            assert book.acknowledge("mode", "ann") == ["mode HALTED"]
    assert sent == [(0, False), (5, True), (15, True), (35, True), (75, True)]  # after 5, 10, 20, 40 minutes
    assert book.document()["open"][0]["acknowledged"] == "ann"
    assert book.acknowledge("mode", "bob") == []


def test_an_alert_of_the_very_key_is_acknowledged_alone():
    book = AlertBook(AlertSettings())
    keys = ["quote 1", "quote 12", "underlying"]
    book.update([structs.replace(SLOW, key=key) for key in keys], [], NOON_NS)
    assert book.acknowledge("quote 1", "ann") == ["quote 1"]
    assert book.acknowledge("quote", "ann") == ["quote 12"]
    assert book.acknowledge("", "ann") == ["underlying"]


def test_what_is_below_the_level_is_not_sent_but_the_daily_summary():
    book = AlertBook(Ungrouped(level="alarm"))
    book.update([SLOW], [Alert("2026-03-04", Level.INFO, "P&L +1.00.", topic=Topic.SUMMARY)], NOON_NS)
    assert told(book, NOON_NS) == [
        (Level.INFO, "INFO: P&L +1.00.\nThe desk: The desk goes on.\nPlease: Nothing.")
    ]


# the rules --------------------------------------------------------------------------------------


@pytest.fixture
def desk(held_runs):
    """A followed run with a straddle held, of the test's own."""
    (run_dir,) = (path for path in held_runs.iterdir() if path.is_dir())
    return read_whole(RunFollower(run_dir))


def keys_after(follower, seconds, settings=None, status=UP, *, is_running=True):
    """Return the conditions of a desk after they have held for so long, by key."""
    rules = DeskRules(settings or AlertSettings(), follower)
    rules.conditions(NOON_NS, status, is_running=is_running)
    if follower.engine is not None:
        follower.engine.now_ns += int(seconds * SECOND_NS)
    found = rules.conditions(NOON_NS + int(seconds * SECOND_NS), status, is_running=is_running)
    return {alert.key: alert for alert in found}


CALM = AlertSettings(residual_fraction=1.0, quote_seconds=1e9, unhedged_seconds=1e9, margin_fraction=0.0)
"""Thresholds that the held run never reaches."""


def test_a_desk_that_is_well_has_no_alert(desk):
    assert keys_after(desk, 1, CALM) == {}


@pytest.mark.parametrize("mode", [Mode.HALTED, Mode.FLATTENING, Mode.REDUCING])
def test_a_mode_says_what_the_desk_does_and_what_is_asked(desk, mode):
    desk.mode, desk.mode_reason = mode, "ann: too wild"
    (alert,) = keys_after(desk, 1, CALM).values()
    assert alert.key == f"mode {mode.value}"
    assert alert.level is (Level.WARNING if mode is Mode.REDUCING else Level.ALARM)
    assert alert.what.endswith("ET: ann: too wild.")
    assert "scalpdesk" in alert.asked


def decided(desk, **facts):
    """Return a hedge that the desk decides on now."""
    return Decision(desk.now_ns, DecisionKind.HEDGE, True, ("hedge",), facts)


def test_net_delta_outside_of_its_band_for_a_minute(desk):
    desk.note(decided(desk, half_width_shares=0.001))
    settings = structs.replace(CALM, unhedged_seconds=60.0)
    assert "unhedged" not in keys_after(desk, 59.9, settings)
    alert = keys_after(desk, 60, settings)["unhedged"]
    delta = desk.greeks().net_delta_shares
    assert f"{abs(delta):.2f} is outside of its band ±0.001 for 1 min" in alert.what
    assert alert.did.startswith("has no hedge order working.")
    # beyond the band by less than a hedge that is sent
    desk.note(decided(desk, half_width_shares=abs(delta) + 1))
    assert "unhedged" not in keys_after(desk, 60, settings)


def test_the_band_of_one_strategy_is_held_against_its_own_book_where_several_share_the_desk(desk):
    """The gamma scalper does not hedge the shares of st0cka."""
    inner, settings = desk.desk, structs.replace(CALM, unhedged_seconds=60.0)
    parts = (inner.instruments, inner.market, inner.delta_engine, inner.view.underlying)
    inner.books = SubBooks(*parts, {"st0cka": Decimal("0.5"), "gamma-scalper": Decimal("0.5")})
    zero, held = Decimal(0), [(each.instrument_id, each.quantity) for each in inner.positions.held()]
    for name, (number, units) in enumerate([*held, (inner.view.underlying, Decimal(50))]):
        terms = number, units, Decimal(1), zero, zero, ChangeCause.TRANSFER, f"r{name}", 1
        inner.books.adopt(Posting("st0cka", *terms))
    for name, is_alarm in (("gamma-scalper", False), ("st0cka", True)):
        facts = {"strategy": name, "half_width_shares": 0.001}
        desk.note(decided(desk, **facts))
        assert ("unhedged" in keys_after(desk, 60, settings)) is is_alarm


def test_a_sold_option_at_its_strike_in_its_last_hour(desk):
    inner, settings = desk.desk, structs.replace(CALM, pin_deviations=1.0)
    held = [each for each in inner.positions.held() if inner.instruments[each.instrument_id].is_option]
    zero = Decimal(0)
    for place, position in enumerate(held):
        sold = -2 * position.quantity
        terms = position.instrument_id, sold, Decimal(1), zero, zero, ChangeCause.TRANSFER, f"s{place}", 1
        inner.book.apply(Posting("", *terms))
    contract = inner.instruments[held[0].instrument_id]
    ends_ns = expiry_instant_ns(contract)

    def found(minutes, away):
        desk.engine.now_ns = now_ns = ends_ns - int(minutes * 60) * SECOND_NS
        spot = float(contract.strike) * (1.0 + away)
        inner.market.apply_quote(
            QuoteEvent(inner.view.underlying, now_ns, now_ns, spot - 0.01, spot + 0.01, 1.0, 1.0)
        )
        for position in held:
            value = inner.instruments[position.instrument_id].payoff(spot) + 0.2
            inner.market.apply_quote(
                QuoteEvent(position.instrument_id, now_ns, now_ns, value - 0.01, value + 0.01, 1.0, 1.0)
            )
        keys = keys_after(desk, 0, settings)
        return {key: alert for key, alert in keys.items() if key.startswith("pin ")}

    assert found(90, 0.0) == {}
    near = found(30, 0.0002)
    assert set(near) == {f"pin {inner.instruments[one.instrument_id].symbol}" for one in held}
    assert all(alert.level is Level.WARNING for alert in near.values())
    assert "tomorrow" in near[f"pin {contract.symbol}"].did
    assert found(30, 0.02) == {}
    settings = structs.replace(CALM, pin_deviations=0.0)
    assert found(29, 0.0002) == {}
    settings = structs.replace(CALM, pin_deviations=1.0)
    assert len(found(-30, 0.0002)) == 2  # its holders decide until 17:30
    assert found(-91, 0.0002) == {}


def test_a_held_leg_without_a_quote_is_named(desk):
    ages = keys_after(desk, 0, structs.replace(CALM, quote_seconds=60.0))
    assert not [key for key in ages if key.startswith("quote")]
    found = keys_after(desk, 61, structs.replace(CALM, quote_seconds=60.0))
    legs = [alert for key, alert in found.items() if key.startswith("quote")]
    assert len(legs) == 2
    assert {alert.what.split(" is held")[0][-4:].strip() for alert in legs} == {"call", "put"}


def test_a_held_leg_that_is_quiet_while_others_are_quoted_is_named_after_half_an_hour(desk):
    """The demo's straddle went a minute without a quote 64 times: the feed was up."""
    inner, settings = desk.desk, structs.replace(CALM, quote_seconds=60.0)
    held = {position.instrument_id for position in inner.positions.held()}
    options = [n for n, one in enumerate(inner.instruments) if isinstance(one, OptionContract)]
    other = next(number for number in options if number not in held)
    for seconds, named in ((61, 0), (1_600, 0), (200, 2)):
        quoted_ns = desk.now_ns + int(seconds * SECOND_NS)
        inner.market.apply_quote(QuoteEvent(other, quoted_ns, quoted_ns, 1.0, 1.1, 1.0, 1.0))
        found = keys_after(desk, seconds, settings)
        assert len([key for key in found if key.startswith("quote")]) == named


def test_an_exit_refused_three_times(desk):
    rules = DeskRules(structs.replace(CALM, exit_refusals=3), desk)
    refused = Decision(desk.now_ns, DecisionKind.EXIT, False, ("15:45 has come", "SPY: price collar"), {})
    for count in range(1, 4):
        desk.note(refused)
        rules.news()
        keys = {alert.key: alert for alert in rules.conditions(NOON_NS, UP, is_running=True)}
        assert ("exit refused" in keys) is (count == 3)
    assert "refused 3 times: SPY: price collar. Held: " in keys["exit refused"].what
    desk.note(structs.replace(refused, taken=True))
    rules.news()
    assert rules.conditions(NOON_NS, UP, is_running=True) == []


def test_residual_and_margin_are_held_against_the_limits(desk):
    totals = desk.desk.attribution.totals
    totals |= {"gamma": Decimal(900), "residual": Decimal(-100)}
    gross = sum(abs(float(amount)) for amount in totals.values())
    left = abs(float(totals["residual"]) + desk.desk.attribution.sums.details["three_way"])
    below = structs.replace(CALM, residual_fraction=left / gross + 1e-5)
    above = structs.replace(CALM, residual_fraction=left / gross - 1e-5)
    assert keys_after(desk, 1, below) == {}
    assert keys_after(desk, 59, above) == {}  # of a small P&L the noise of one quote is a large share
    assert f"{left / gross:.1%}".replace("%", " %") in keys_after(desk, 60, above)["residual"].what
    limits = AccountLimits(0, 0, True, True, 3, Decimal(4_000), Decimal(9_000))
    desk.desk.gate.venue_limits = limits
    found = keys_after(desk, 1, structs.replace(CALM, margin_fraction=0.1))
    assert "Buying power left is 4,000.00, 4.0 % of the equity" in found["margin"].what
    desk.desk.gate.venue_limits = structs.replace(limits, may_trade=False, buying_power=Decimal(90_000))
    assert set(keys_after(desk, 1, CALM)) == {"blocked"}


def test_watchdog_silence_disconnection_and_a_desk_that_has_gone(desk, tmp_path):
    down = {"differences": ["SPY: 3 here, 4 there"], "connection": {"streams": {"orders": False}}}
    assert {key.partition(" ")[0] for key in keys_after(desk, 14, CALM, down)} == {"difference"}
    found = keys_after(desk, 15, CALM, down)
    assert found["down orders"].level is Level.ALARM
    assert keys_after(desk, 9, CALM, None) == {}
    assert set(keys_after(desk, 10, CALM, None)) == {"silent"}
    assert keys_after(desk, 10, CALM, None, is_running=False) == {}  # a demo's positions belong to no desk
    desk.tail.header = structs.replace(desk.header, mode="paper")
    gone = keys_after(desk, 10, CALM, None, is_running=False)["gone"]
    assert "Held at its last record: " in gone.what
    assert "SPY" in gone.what
    desk.run_dir = tmp_path
    (tmp_path / ACTED_FILE).write_text(
        "ALARM: no heartbeat for 3.0 s; cancelling all orders\ndone after 0.20 s\n"
    )
    alert = keys_after(desk, 1, CALM)["watchdog"]
    assert alert.what == "The watchdog acted: no heartbeat for 3.0 s; cancelling all orders"
    assert alert.did.endswith("done after 0.20 s")


def test_the_daily_summary_and_status_have_the_runs_own_figures(ended_feed, ended_runs):
    follower, summary = ended_feed.follower, ended_runs[1]
    text = daily_summary(follower).text.replace("−", "-")
    assert f"P&L {Decimal(summary['nav_change']):+,.2f} (" in text
    for name, amount in summary["pnl"].items():
        if name != "total":
            value = Decimal(amount)
            assert f"{name.replace('_', ' ')} {f'{value:+,.2f}' if value else '0.00'}" in text
    assert f"{summary['orders']} orders and {summary['fills']} fills" in text
    assert "Held overnight: nothing." in text
    assert f"P&L of the session {Decimal(summary['nav_change']):+,.2f}" in status_text(
        follower, is_running=False
    ).replace("−", "-")


# out and back -----------------------------------------------------------------------------------


@pytest.fixture
def network():
    """A server that takes what is posted, answers as Telegram's bot interface, and can be made to fail."""
    posted, updates, failing = [], deque(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(b"")

        def do_POST(self):
            self._answer(self.rfile.read(int(self.headers["content-length"])))

        def _answer(self, body):
            posted.append((self.path, body.decode()))
            result = [updates.popleft()] if updates and "getUpdates" in self.path else []
            content = json.dumps({"ok": True, "result": result}).encode()
            self.send_response(500 if failing else 200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield type(
        "Network",
        (),
        {"port": server.server_address[1], "posted": posted, "updates": updates, "failing": failing},
    )
    server.shutdown()
    thread.join()
    server.server_close()


TOKEN = "112233:canary-token"


class Asked(list):
    """Requests to a desk, which may be silent."""

    is_silent = False


def service_of(run_dir, network, clock, **settings):
    asked = Asked()

    def ask(_folder, request):
        if asked.is_silent:
            raise RetryError("the desk does not answer")
        asked.append(request)
        return (
            UP
            if request["do"] == "status"
            else {"was": "ACTIVE", "mode": request["do"].upper(), "cancels": 0}
        )

    keys = CredentialsSection(
        alert_urls=Secret(f"json://127.0.0.1:{network.port}/hook-canary"),
        alert_escalation_urls=Secret(f"json://127.0.0.1:{network.port}/boss-canary"),
        alert_heartbeat_url=Secret(f"http://127.0.0.1:{network.port}/beat-canary"),
        telegram_bot_key=Secret(TOKEN),
    )
    config = DeskConfig(
        credentials=keys,
        alerts=AlertSettings(
            telegram_api=f"http://127.0.0.1:{network.port}", telegram_operators=(7,), **settings
        ),
    )
    said = []
    service = AlertService(
        run_dir, config, clock, lambda *words: said.append(words), ask_desk=ask, is_running=lambda _: True
    )
    while service.step():
        pass
    service.step()
    return service, asked, said


@pytest.mark.enable_socket
def test_an_alert_reaches_a_webhook_is_tried_again_and_shows_no_address(own_run, network, capsys):
    clock = Hand()
    service, _, said = service_of(own_run, network, clock, residual_fraction=1.0)
    network.posted.clear()
    network.failing.append(True)
    service.follower.mode, service.follower.mode_reason = Mode.HALTED, "ann: enough"
    clock.move(1)
    service.step()
    assert [path for path, _ in network.posted if "hook" in path] == ["/hook-canary"]
    network.failing.clear()
    clock.move(4)
    service.step()
    assert len([path for path, _ in network.posted if "hook" in path]) == 1
    clock.move(1)
    service.step()
    body = [body for path, body in network.posted if "hook" in path][-1]
    sent = json.loads(body)
    assert sent["title"].startswith("scalpdesk SIMULATED SPY gamma-scalper: ALARM")
    assert "ann: enough.\nThe desk: has cancelled its orders" in sent["message"]
    assert "Please: Look at what is held; then scalpdesk flatten" in sent["message"]
    assert sent["type"] == "failure"
    acknowledge(own_run, "", "ann")
    clock.move(10_000)
    service.step()
    assert not [path for path, _ in network.posted if "boss" in path]
    assert alerts_of(own_run)["open"][0]["acknowledged"] == "ann"
    assert stat.S_IMODE((own_run / "alerts.json").stat().st_mode) == 0o600
    service.finish()
    everything = (
        repr(said) + capsys.readouterr().err + (own_run / "alerts.json").read_text() + repr(service.book)
    )
    assert "not taken by" in everything
    assert "canary" not in everything


def test_an_address_that_refuses_is_tried_once_a_round_and_one_message_holds_up_no_other():
    clock, tried, said = Hand(), [], []

    class Refusing:
        names = ("down", "up")
        odd = frozenset({"0", "1", "2"})

        def send_to(self, place, message):
            tried.append((place, message.title))
            return place == 1 or message.title not in self.odd

        def send(self, message):
            return [False, False]

    channels, outbox = Refusing(), AlertOutbox(lambda *words: said.append(words))
    for title in "012":
        outbox.send(channels, Message(title, "", Level.WARNING))
    assert len(said) == 6
    outbox.send_again(clock.now_ns())
    clock.move(4.9)
    outbox.send_again(clock.now_ns())
    assert tried == []
    clock.move(0.1)
    outbox.send_again(clock.now_ns())
    assert tried == [(0, "0"), (1, "0"), (1, "1"), (1, "2")]
    assert [message.title for _, _, message in outbox.waiting] == ["1", "2", "0"]
    tried.clear()
    Refusing.odd = frozenset({"1"})  # this one it never takes
    clock.move(15)
    outbox.send_again(clock.now_ns())
    assert tried == [(0, "1")]
    clock.move(60)
    outbox.send_again(clock.now_ns())
    assert tried == [(0, "1"), (0, "2"), (0, "0"), (0, "1")]
    assert [message.title for _, _, message in outbox.waiting] == ["1"]


@pytest.mark.enable_socket
def test_an_alarm_that_nobody_acknowledges_goes_to_the_second_addresses(own_run, network):
    clock = Hand()
    service, _, _ = service_of(own_run, network, clock, escalate_seconds=300.0, residual_fraction=1.0)
    service.follower.mode = Mode.HALTED
    service.step()
    clock.move(300)
    service.step()
    (body,) = [body for path, body in network.posted if path == "/boss-canary"]
    assert json.loads(body)["message"].startswith("NOT ACKNOWLEDGED for 5 min: The desk is HALTED")
    service.finish()


@pytest.mark.enable_socket
def test_a_watcher_renews_its_file_though_nothing_changes(own_run, network):
    clock = Hand()
    service, _, _ = service_of(own_run, network, clock, residual_fraction=1.0)
    state = own_run / STATE_FILE
    content = state.read_bytes()
    for seconds, is_renewed in ((9, False), (1, True), (9, False)):
        os.utime(state, (1, 1))
        clock.move(seconds)
        service.step()
        assert (state.stat().st_mtime > 1) is is_renewed
    assert state.read_bytes() == content
    service.finish()


@pytest.mark.enable_socket
def test_the_heartbeat_stops_when_the_desk_does_not_answer(own_run, network):
    clock = Hand()
    service, asked, _ = service_of(own_run, network, clock, heartbeat_seconds=60.0)
    for _ in range(4):
        clock.move(30)
        service.step()
    assert [path for path, _ in network.posted].count("/beat-canary") == 3  # at 0, 60 and 120 s

    asked.is_silent = True
    for _ in range(10):
        clock.move(30)
        service.step()
    assert [path for path, _ in network.posted].count("/beat-canary") == 3
    service.finish()


def telegram(update_id, user, text, clock, age_seconds=0):
    return {
        "update_id": update_id,
        "message": {
            "from": {"id": user, "username": f"user{user}"},
            "chat": {"id": 900 + user},
            "date": clock.ns // SECOND_NS - age_seconds,
            "text": text,
        },
    }


@pytest.mark.enable_socket
def test_operators_halt_and_flatten_from_telegram_and_nobody_else(own_run, network):
    clock = Hand()
    service, asked, _ = service_of(own_run, network, clock, residual_fraction=1.0)

    def send(user, text, age_seconds=0):
        network.posted.clear()
        network.updates.append(telegram(send.number, user, text, clock, age_seconds))
        send.number += 1
        clock.move(2)
        service.step()
        answers = [json.loads(body) for path, body in network.posted if "sendMessage" in path]
        return answers[0] if answers else None

    send.number = 50
    shown = send(7, "/status")
    assert shown["chat_id"] == 907
    assert shown["text"].startswith("SIMULATED · SPY gamma-scalper · ACTIVE")
    assert send(7, "/halt@desk_bot")["text"] == "halt: the desk was ACTIVE, is HALT now."
    assert asked[-1] == {"do": "halt", "reason": "halt from Telegram by user7 (7)"}
    count = len([request for request in asked if request["do"] != "status"])
    assert send(8, "/halt") is None  # not an operator's command
    assert send(7, "/halt", age_seconds=61) is None  # wanted a minute ago
    assert send(7, "halt") is None
    plan = send(7, "/flatten")["text"]
    assert plan.startswith("Flatten: close the options")
    code = plan.rpartition(" ")[2]
    assert send(7, "/flatten 12345")["text"].startswith("Flatten:")  # a new code
    assert send(7, f"/flatten {code}")["text"].startswith("Flatten:")  # the old one is void
    assert len([request for request in asked if request["do"] != "status"]) == count
    code = send(7, "/flatten")["text"].rpartition(" ")[2]
    assert send(7, f"/flatten {code}")["text"].startswith("flatten: the desk was ACTIVE")
    assert asked[-1]["do"] == "flatten"
    service.finish()
    assert any("user 8 " in json.dumps(message) for message in service.book.document()["sent"])
    offsets = [
        path.partition("offset=")[2].partition("&")[0] for path, _ in network.posted if "offset" in path
    ]
    assert offsets == [str(send.number - 1)]
    service.finish()


@pytest.mark.enable_socket
def test_a_halt_behind_what_cannot_be_read_or_answered_is_carried_out(own_run, network, monkeypatch):
    clock = Hand()
    service, asked, said = service_of(own_run, network, clock, residual_fraction=1.0)
    without_chat = telegram(51, 7, "/halt", clock)
    del without_chat["message"]["chat"]
    updates = [
        telegram(50, 7, "/status", clock),
        without_chat,
        {"message": {}},
        telegram(52, 7, "/halt", clock),
    ]

    def call(_url, path="", body=None):
        if body is not None:
            raise RetryError("an address of [alerts] does not answer", value="HTTP 429")
        return json.dumps({"ok": True, "result": updates}).encode()

    monkeypatch.setattr(channels, "call", call)
    clock.move(2)
    service.step()
    halts = [request["reason"] for request in asked if request["do"] == "halt"]
    assert halts == ["halt from Telegram by user7 (7)"]
    assert said == [("warning", "Telegram: an address of [alerts] does not answer (HTTP 429)")] * 2
    service.finish()


@pytest.mark.enable_socket
def test_without_operators_no_command_is_even_asked_for(own_run, network):
    alerts = AlertSettings(telegram_api=f"http://127.0.0.1:{network.port}")
    config = DeskConfig(credentials=CredentialsSection(telegram_bot_key=Secret(TOKEN)), alerts=alerts)
    service = AlertService(own_run, config, clock := Hand(), lambda *_: None, is_running=lambda _: False)
    while service.step():
        pass
    clock.move(10)
    service.step()
    assert network.posted == []
    service.finish()


@pytest.mark.parametrize("wrong", ["tgrm://112233:canary/42", "hooks.slack.com/T000/canary", "canary"])
def test_an_address_that_nobody_knows_is_refused_without_showing_any_of_it(wrong):
    with pytest.raises(ConfigError) as caught:
        Channels(Secret(f"json://localhost {wrong}"))
    assert caught.value.value == "address 2"
    assert "canary" not in caught.value.render()


def test_a_wrong_address_for_escalation_is_refused_by_its_own_key(capsys, monkeypatch):
    monkeypatch.setenv("SCALPDESK_CREDENTIALS__ALERT_ESCALATION_URLS", "canary")
    assert main(["alerts", "test"]) == 2
    assert "where: credentials.alert_escalation_urls" in capsys.readouterr().err


@pytest.fixture
def wire(monkeypatch):
    """Messages to a service of apprise, by HTTP or as a mail."""
    import requests
    from apprise.plugins.email.base import smtplib

    posted = []

    class Mail:
        def __init__(self, *_, **__):
            pass

        def sendmail(self, _sender, _to, content):
            posted.append(content)

        def __getattr__(self, name):
            return lambda *_, **__: None

    def post(_url, data=None, **_):
        posted.append(data)
        answer = requests.Response()
        answer.status_code, answer.raw = 200, BytesIO(b'{"ok":true}')
        return answer

    monkeypatch.setattr(requests, "post", post)
    monkeypatch.setattr(smtplib, "SMTP", Mail)
    monkeypatch.setattr(smtplib, "SMTP_SSL", Mail)
    return posted


TELEGRAM_URL = "tgram://123456789:abcdefg_hijklmnop_canary_canary_1234/42"
DISCORD_URL = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"
ODD = "WARNING: edge 0.1 < 0.2 & P&L down.\nThe desk: goes on.\nPlease: look."


def test_telegram_gets_no_bare_sign_that_begins_a_tag(wire):
    assert Channels(Secret(TELEGRAM_URL)).send(Message("desk: WARNING", ODD, Level.WARNING)) == [True]
    text = json.loads(wire[0])["text"]
    assert text.replace("\r\n", "\n") == (
        "<b>desk: WARNING</b>\nWARNING: edge 0.1 &lt; 0.2 &amp; P&amp;L down.\n"
        "The desk: goes on.\nPlease: look."
    )


def test_a_mail_keeps_its_lines(wire):
    assert Channels(Secret("mailtos://user:canary@example.com")).send(
        Message("desk: WARNING", ODD, Level.WARNING)
    ) == [True]
    mail = message_from_string(wire[0])
    assert mail.get_content_type() == "text/plain"
    assert mail.get_payload(decode=True).decode().splitlines() == ODD.splitlines()


@pytest.mark.parametrize(
    ("url", "field", "limit"), [(TELEGRAM_URL, "text", 4096), (DISCORD_URL, "content", 2000)]
)
def test_a_message_longer_than_a_service_takes_goes_in_pieces(wire, url, field, limit):
    body = "\n\n".join(f"WARNING: {number:02d} {'x' * 90}" for number in range(60))
    found = Channels(Secret(url))
    found._targets[0].request_rate_per_sec = 0
    assert found.send(Message("desk: WARNING, 60 alerts", body, Level.WARNING)) == [True]
    texts = [json.loads(each)[field] for each in wire]
    assert len(texts) > 1
    assert max(map(len, texts)) <= limit
    assert [f"WARNING: {number:02d}" in " ".join(texts) for number in range(60)] == [True] * 60


def test_the_names_of_addresses_hide_their_tokens():
    assert Channels(Secret(TELEGRAM_URL)).names == ["tgram://1...4"]


def test_what_a_watcher_needs_passes_through_one_line():
    import msgspec

    config = DeskConfig(
        credentials=CredentialsSection(alert_urls=Secret("json://h"), trading_api_key=Secret("canary")),
        alerts=AlertSettings(quiet_hours="22:00-07:00"),
    )
    line = msgspec.json.encode(WatchOrders.of(config))
    assert b"canary" not in line
    again = msgspec.json.decode(line, type=WatchOrders).config()
    assert again.alerts == config.alerts
    assert again.credentials.alert_urls == Secret("json://h")
    assert again.credentials.trading_api_key is None


@pytest.mark.enable_socket
def test_alerts_on_the_command_line(own_run, network, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["alerts", "test"]) == 2
    assert "SCALPDESK_CREDENTIALS__ALERT_URLS" in capsys.readouterr().err
    monkeypatch.setenv("SCALPDESK_CREDENTIALS__ALERT_URLS", f"json://127.0.0.1:{network.port}/hook")
    assert main(["alerts", "test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sent"][0]["taken"] is True
    assert "This is a test of the desk's alerts." in json.loads(network.posted[-1][1])["message"]
    network.failing.append(True)
    assert main(["alerts", "test"]) == 1
    assert "NOT TAKEN: json://127.0.0.1" in capsys.readouterr().out
    runs = ["--set", f"desk.runs_dir={own_run.parent}"]
    assert main(["alerts", "ls", *runs]) == 2
    assert "no watcher" in capsys.readouterr().err
    assert main(["alerts", "ack", "mode", *runs]) == 2
    assert "no watcher" in capsys.readouterr().err
    opened = {"key": "mode HALTED", "level": "warning", "what": "x", "acknowledged": None}
    (own_run / STATE_FILE).write_text(json.dumps({"open": [opened], "sent": []}))
    assert main(["alerts", "ack", "nonsense", *runs]) == 2
    refused = capsys.readouterr().err
    assert "no open alert begins so; open: mode HALTED\n  where: KEY\n  value: 'nonsense'" in refused
    assert not (own_run / "alerts.ack").exists()
    assert main(["alerts", "ack", "mode", *runs]) == 0
    key, _ = json.loads((own_run / "alerts.ack").read_text())
    assert key == "mode"


@pytest.mark.enable_socket
def test_a_watch_as_json_ends_with_one_document(own_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["alerts", "watch", "--json", "--run", str(own_run)]
    monkeypatch.setattr("scalpdesk.cli.alerts.PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(AlertService, "step", lambda self: setattr(self.follower.tail, "sealed", True))
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["run_id"], found["open"]) == (own_run.name, [])
    assert "sent" in found
