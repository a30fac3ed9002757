"""A halt of a symbol stops the orders in it and its options; a session that ends for good stops them all."""

import asyncio
from decimal import Decimal

import pytest

from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side
from scalpdesk_alpaca.served import streams
from scalpdesk_testing.line_desk import CHAIN, LineDesk

D = Decimal
CALL = CHAIN[3]
HOLDINGS = {CALL: 2, "SPY": -40, "QQQ": 10}
TAPES = [("2", "3", "B"), ("2", "3", "A"), ("H", "T", "C"), ("P", "T", "C")]
"""Codes of a halt and of its end by tape: CTA, CTA, UTP, and the volatility pause of UTP."""
NEITHER = ["5", "6", "7", "8", "9", "A", "C", "D", "E", "F", "Q", "?"]
"""Indications, imbalances, short sale restriction, price bands; quotes that come back before trades."""


def orders(bench):
    return [request for request in bench.requests if request.method == "POST"]


def speak(monkeypatch, halt, resume, tape):
    """Let the exchange use a tape's codes."""

    def status(event, when):
        code = halt if event.is_halted else resume
        return {"t": when(event.ts_ns), "sc": code, "sm": "", "rc": "", "rm": "", "z": tape}

    monkeypatch.setattr(streams, "_status", status)


@pytest.mark.rows(("halt", "resume", "tape"), TAPES)
def test_while_a_symbol_is_halted_nothing_is_sent_in_it_or_its_options_and_then_all_is(
    tmp_path, monkeypatch, halt, resume, tape
):
    speak(monkeypatch, halt, resume, tape)

    async def play(desk):
        share = desk.market.instruments.id_of("SPY")
        await desk.following()
        await desk.until(lambda: desk.desk.runner.state.recovered_seconds is not None)
        desk.world.halt(share)
        desk.line.drive()
        await desk.until(lambda: desk.engine.desk.gate.halted)
        await desk.desk.runner.operate("flatten", "test", "me")
        before = len(orders(desk))
        await asyncio.sleep(120.0)
        meanwhile, held = orders(desk)[before:], desk.truth()
        desk.world.resume(share)
        desk.line.drive()
        await desk.until(lambda: not desk.truth())
        return [b"SPY" in request.body for request in meanwhile], held

    with LineDesk(tmp_path, HOLDINGS) as bench:
        in_spy, held = bench.live(bench.plan("zero-dte", "entry.mode=adopt"), play)
        assert in_spy == [False] * len(in_spy)
        assert held["SPY"] != 0
        assert held[CALL] == 2


@pytest.mark.rows("code", NEITHER)
def test_a_status_that_is_no_halt_stops_nothing_and_ends_no_halt(tmp_path, monkeypatch, code):
    speak(monkeypatch, code, code, "B")

    async def play(desk):
        share = desk.market.instruments.id_of("SPY")
        await desk.following()
        halted = desk.engine.desk.gate.halted
        desk.world.halt(share)
        desk.world.resume(share)
        desk.line.drive()
        await asyncio.sleep(2.0)
        after_code = dict(halted)
        halted[desk.engine.desk.view.underlying] = desk.engine.now_ns + 10**12
        desk.world.halt(share)
        desk.line.drive()
        await asyncio.sleep(2.0)
        return after_code, len(halted)

    with LineDesk(tmp_path) as bench:
        assert bench.live(bench.plan("st0cka"), play) == ({}, 1)


def test_a_halt_takes_off_what_works_in_the_symbol_and_a_bar_made_after_it_ends_it(tmp_path):
    async def play(desk):
        share, core = desk.market.instruments.id_of("SPY"), desk.desk.runner.core
        await desk.following()
        await desk.until(lambda: desk.desk.runner.state.recovered_seconds is not None)
        for symbol, limit in (("SPY", "90"), (CALL, "0.05"), ("QQQ", "50")):
            number = core.engine.desk.instruments.id_of(symbol)
            intent = OrderIntent(number, Side.BUY, D(1), Purpose.HEDGE, "", OrderType.LIMIT, D(limit))
            desk.desk.gateway.send(core.engine.desk.orders.submit(intent, core.engine.now_ns))
        await desk.until(lambda: all(order.venue_order_id for order in core.engine.desk.orders.live.values()))
        desk.world.halt(share)
        desk.line.drive()
        await desk.until(lambda: len(list(desk.account.open_orders())) == 1)
        left = [order.request.symbol for order in desk.account.open_orders()]
        desk.world.broker.resume(share)  # and the message of it is lost
        await asyncio.sleep(50.0)
        still = dict(desk.engine.desk.gate.halted)
        await desk.until(lambda: not desk.engine.desk.gate.halted, 180.0)
        return left, still

    with LineDesk(tmp_path, {"QQQ": 10, CALL: 1}) as bench:
        left, still = bench.live(bench.plan("zero-dte"), play)
        assert left == ["QQQ"]
        assert still


@pytest.mark.parametrize("is_cut", [False, True])
def test_revoked_keys_halt_the_desk_once_and_nothing_more_is_ordered(tmp_path, is_cut):
    async def play(desk):
        await desk.following()
        await desk.until(lambda: desk.desk.runner.state.recovered_seconds is not None)
        desk.keyring._by_key.clear()
        if is_cut:
            desk.line.cut()
        await desk.until(lambda: desk.engine.desk.gate.mode == "HALTED")
        before = len(orders(desk))
        await asyncio.sleep(600.0)
        return orders(desk)[before:]

    with LineDesk(tmp_path, HOLDINGS) as bench:
        assert bench.live(bench.plan("zero-dte"), play) == []
        alarms = [text for level, text in bench.said if level == "alarm" and "ended the session" in text]
        assert len(alarms) == 1
