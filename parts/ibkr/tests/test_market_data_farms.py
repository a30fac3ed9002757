"""The lines of one farm that TWS drops are opened again, without those of the others."""

import pytest

from scalpdesk.core.events import QuoteEvent
from scalpdesk.venues import Listener
from scalpdesk_ibkr.codes import farm_of
from scalpdesk_testing.kit.served import between

pytestmark = pytest.mark.usefixtures("socket_enabled")

BROKEN, OK = "Market data farm connection is broken:", "Market data farm connection is OK:"
TICKS = {"1": 2, "2": 2, "21": 1, "45": 2, "46": 2}
"""Messages of a line, and the place of its request's id."""


class Farm:
    """The farm of the shares: while it is dead, and ever after on the lines of before, nothing comes."""

    def __init__(self, line):
        self.line = line
        self.shares, self.dead = set(), set()
        line.client, line.server = self.client, self.server

    def client(self, fields):
        if fields[0] == "1" and fields[5] == "STK":
            self.shares.add(fields[2])
        return [fields]

    def server(self, fields):
        place = TICKS.get(fields[0])
        return [] if place is not None and fields[place] in self.dead else [fields]

    def blip(self):
        self.line.tell(4, 2, -1, 2103, BROKEN + "usfarm", "")
        self.dead = set(self.shares)
        self.line.tell(4, 2, -1, 2104, OK + "usfarm", "")


def opened(line):
    """Return the kinds of the contracts whose lines were asked for, in order."""
    return [fields[5] for fields in line.asked if fields[0] == "1"]


def test_the_lines_that_a_farm_dropped_are_opened_again():
    async def dropped(bench, line):
        farm = Farm(line)
        gateway = bench.gateway(section={"turn_seconds": 2.0})  # options tick far more often
        await gateway.connect()
        desk = Listener(bench, gateway)
        wanted = {bench.share, bench.call, bench.put}
        await gateway.subscribe([*wanted])

        def seen(since):
            return {each.instrument_id for each in desk.events[since:] if isinstance(each, QuoteEvent)}

        await desk.until(lambda: seen(0) >= wanted)
        farm.blip()
        before = len(desk.events)
        await desk.until(lambda: len(desk.events) > before + 20)
        assert bench.share not in seen(before + 10)
        await desk.until(lambda: bench.share in seen(before + 10))
        assert opened(line)[3:] == ["STK"]
        assert gateway.health().counters["lines_asked_again"] == 1
        await desk.close()

    between(dropped)


def test_another_farm_that_is_back_is_not_the_one_that_was_lost():
    async def lost(bench, line):
        gateway = bench.gateway()
        await gateway.connect()
        desk = Listener(bench, gateway)
        for name in ("usfarm", "usopt"):
            line.tell(4, 2, -1, 2103, BROKEN + name, "")
        line.tell(4, 2, -1, 2104, OK + "usopt", "")
        await gateway.snapshot()
        assert not gateway.health().streams["quotes"]
        line.tell(4, 2, -1, 2104, OK + "usfarm.nj", "")
        await gateway.snapshot()
        assert not gateway.health().streams["quotes"]
        line.tell(4, 2, -1, 2104, OK + "usfarm", "")
        await gateway.snapshot()
        assert gateway.health().streams["quotes"]
        await desk.close()

    between(lost)


@pytest.mark.rows("code", [10225, 354, 10197])
def test_a_line_that_tws_ends_counts_as_one_without_data_until_a_quote_comes(code):
    """10225: after a bust the subscription is deactivated, and nothing more comes on it."""

    async def ended(bench, line):
        gateway = bench.gateway()
        await gateway.connect()
        desk = Listener(bench, gateway)
        await gateway.subscribe([bench.share])
        await desk.until(lambda: bool(desk.of(QuoteEvent)))
        (request_id,) = (fields[2] for fields in line.asked if fields[0] == "1")
        line.server = lambda fields: [] if fields[0] in TICKS else [fields]
        await gateway.snapshot()  # all that was on its way has come
        line.tell(4, 2, request_id, code, "the subscription has ended", "")
        await desk.until(lambda: any(each.stream == "quotes" for each in desk.notices))
        assert gateway.health().counters["lines_without_data"] == 1
        line.server = lambda fields: [fields]
        await desk.until(lambda: gateway.health().counters["lines_without_data"] == 0)
        await desk.close()

    between(ended)


@pytest.mark.rows(
    ("text", "farm"),
    [
        ("Market data farm connection is broken:usfarm", "usfarm"),
        ("Market data farm connection is OK:usfarm.nj", "usfarm.nj"),
        ("Market data farm connection is inactive but should be available upon demand.usopt", "usopt"),
        ("HMDS data farm connection is OK:ushmds", "ushmds"),
        ("", ""),
    ],
)
def test_a_farm_is_named_at_the_end_of_its_message(text, farm):
    assert farm_of(text) == farm
