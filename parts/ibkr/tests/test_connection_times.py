"""Times of executions at TWS: never of this machine's zone, never a reason to lose an execution."""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.base import OrderFilled, from_ns, to_ns
from scalpdesk.orders.order import OrderState
from scalpdesk_ibkr.codes import WINDOWS_ZONES
from scalpdesk_ibkr.connection import TwsTimes, written
from scalpdesk_testing.kit.served import with_desk

NEW_YORK = ZoneInfo("America/New_York")
FIRST, LAST = datetime(2020, 1, 1), datetime(2030, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone
NOON = datetime(2026, 3, 2, 17, 0, 30, tzinfo=UTC)
TIME = 15
"""Place of the time in a message on an execution (11)."""
IN_ZONES = {
    "utc": lambda moment: f"{moment.astimezone(UTC):%Y%m%d-%H:%M:%S}",
    "login": lambda moment: f"{moment.astimezone(NEW_YORK):%Y%m%d  %H:%M:%S}",
    "windows": lambda moment: (
        f"{moment.astimezone(ZoneInfo('America/Chicago')):%Y%m%d %H:%M:%S} Central Standard Time"
    ),
    "old name": lambda moment: f"{moment.astimezone(ZoneInfo('MET')):%Y%m%d %H:%M:%S} MET",
    "unknown zone": lambda moment: f"{moment.astimezone(UTC):%Y%m%d %H:%M:%S} Moonbase",
    "nonsense": lambda moment: "yesterday",
    "nothing": lambda moment: "",
    "hours ahead": lambda moment: f"{moment.astimezone(UTC) + timedelta(hours=6):%Y%m%d-%H:%M:%S}",
}
READABLE = ("utc", "login", "windows", "old name")


@pytest.fixture
def of_machine(monkeypatch):
    """Set the zone of this machine for a test."""

    def set_zone(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("socket_enabled")
@pytest.mark.rows("form", IN_ZONES)
def test_an_execution_is_booked_at_its_instant_or_as_of_now_and_listed_once(of_machine, form):
    of_machine("Asia/Tokyo")  # the zone of no form: read as the machine's, each would be off
    sent = []

    def restated(fields):
        if fields[0] == "11":
            moment = datetime.strptime(fields[TIME], "%Y%m%d %H:%M:%S US/Eastern").replace(tzinfo=NEW_YORK)
            sent.append(moment)
            fields[TIME] = IN_ZONES[form](moment)
        return [fields]

    async def traded(bench, desk):
        order = await desk.submit(bench.share, 3)
        await desk.over(order)
        assert order.state is OrderState.FILLED
        (filled,) = desk.of(OrderFilled)
        apart = from_ns(filled.ts_event_ns) - sent[0]
        is_told = any(each.name == "unreadable_time" for each in desk.notices)
        if form in READABLE:
            assert apart == timedelta(0)
            assert not is_told
        else:
            assert abs(apart) < timedelta(seconds=30)
            assert is_told
        hour_ago = to_ns(sent[0] - timedelta(hours=1))
        for _ in range(2):
            view = await desk.gateway.snapshot(fills_since_ns=hour_ago)
            assert [(each.execution_id, each.ts_event_ns) for each in view.fills] == [
                (filled.execution_id, filled.ts_event_ns)
            ]
        later = await desk.gateway.snapshot(fills_since_ns=to_ns(sent[0] + timedelta(minutes=1)))
        assert later.fills == ()
        assert len(desk.of(OrderFilled)) == 1
        assert view.account.cash == bench.truth().cash
        desk.assert_adds_up()

    with_desk(traded, rules=restated)


@given(
    st.datetimes(FIRST, LAST, timezones=st.just(UTC)),
    st.sampled_from(["US/Eastern", "Europe/Berlin", "Asia/Kolkata", *WINDOWS_ZONES]),
)
def test_every_zone_gives_back_the_instant_that_was_written_in_it(moment, name):
    moment = moment.replace(microsecond=0)
    local = moment.astimezone(ZoneInfo(WINDOWS_ZONES.get(name, name)))
    times = TwsTimes(None)
    if local.replace(fold=0).utcoffset() == local.utcoffset():  # an hour that is told twice is its first
        assert times.instant(f"{local:%Y%m%d %H:%M:%S} {name}") == to_ns(moment)
        times.logged_in(f"{local:%Y%m%d %H:%M:%S} {name}")
        assert times.instant(f"{local:%Y%m%d  %H:%M:%S}") == to_ns(moment)
    assert times.instant(written(to_ns(moment))) == to_ns(moment)


@pytest.mark.rows("offset_hours", [-5.0, 0.0, 5.5, 8.0])
@pytest.mark.rows("name", ["EDT", "\u4e2d\u56fd\u6807\u51c6\u65f6\u95f4", ""])
def test_a_login_whose_zone_has_no_known_name_is_measured_by_the_time_beside_it(offset_hours, name):
    now_ns = to_ns(NOON)
    times = TwsTimes(lambda: now_ns)
    local = NOON + timedelta(hours=offset_hours, seconds=-7)
    times.logged_in(f"{local:%Y%m%d %H:%M:%S} {name}".strip())
    assert times.instant(f"{local:%Y%m%d  %H:%M:%S}") == now_ns - 7 * 10**9
    if name:
        assert times.instant(f"{local:%Y%m%d %H:%M:%S} {name}") == now_ns - 7 * 10**9
    assert times.instant(f"{local:%Y%m%d %H:%M:%S} EST5") is None


@pytest.mark.rows("text", ["", "20260302", "20261399 10:00:00", "20260302 25:00:00", "x" * 99])
def test_what_is_no_time_is_none_and_a_login_without_one_has_no_zone(text):
    times = TwsTimes(lambda: to_ns(NOON))
    times.logged_in(text)
    assert times.instant(text) is None
    assert times.instant("20260302  12:00:00") is None
    assert times.instant("20260302-17:00:00") == to_ns(NOON) - 30 * 10**9


def test_an_execution_lies_in_the_past_by_more_than_clocks_go_wrong():
    times = TwsTimes(lambda: to_ns(NOON))
    assert times.instant("20260302-17:15:30") == to_ns(NOON) + 900 * 10**9
    assert times.instant("20260302-17:15:31") is None
    assert TwsTimes(None).instant("20260302-17:15:31") == to_ns(NOON) + 901 * 10**9


@pytest.mark.usefixtures("socket_enabled")
@pytest.mark.rows("zone", ["EDT", "\u4e2d\u56fd\u6807\u51c6\u65f6\u95f4", "Eastern Standard Time"])
def test_a_login_in_a_zone_by_another_name_keeps_its_executions_over_a_connection(of_machine, zone):
    of_machine("Asia/Tokyo")

    def restated(fields):
        if len(fields) == 2 and fields[1].endswith(("US/Eastern", "EST", "EDT")):
            fields[1] = fields[1].rpartition(" ")[0] + f" {zone}"
        if fields[0] == "11":
            fields[TIME] = fields[TIME].replace(" US/Eastern", "").replace(" ", "  ")
        return [fields]

    async def traded(bench, desk):
        order = await desk.submit(bench.share, 3)
        await desk.over(order)
        (filled,) = desk.of(OrderFilled)
        assert abs(from_ns(filled.ts_event_ns) - datetime.now(UTC)) < timedelta(seconds=30)
        bench.server.protocol.close_all()
        await desk.until(lambda: len([each for each in desk.notices if each.asks_for_reconciliation]) > 1)
        view = await desk.gateway.snapshot(fills_since_ns=filled.ts_event_ns - 10**9)
        assert [each.ts_event_ns for each in view.fills] == [filled.ts_event_ns]

    with_desk(traded, rules=restated)
