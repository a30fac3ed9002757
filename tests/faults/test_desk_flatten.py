"""The desk's own flatten at the simulated exchange: slow, lost, doubled, refused requests, orders by hand.

Judged by the exchange's own ledger: no execution of the desk takes a position across zero or further from it,
no share moves while options on it are held, and what a stop calls flat is flat and stays so.
"""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from scalpdesk.core.intents import Purpose
from scalpdesk.live.sessions import StopMode
from scalpdesk_testing.kit.order_faults import FaultsLater, rules_of
from scalpdesk_testing.line import OnTheWay
from scalpdesk_testing.line_desk import CHAIN, ELSEWHERE, LineDesk

TODAY = CHAIN[:10]
SETTINGS = {
    "zero-dte": ("exit.at=15:45",),
    "gamma-scalper": ("selection.min_expiration_days=0", "exits.min_dte=null", "mode=resume"),
    "st0ckg": (),
}


def play_seed(folder, seed):
    """Flatten an account with random holdings while faults strike; return the bench and the outcome."""
    dice = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 11])))
    strategy = str(dice.choice(list(SETTINGS)))
    symbols = TODAY if strategy == "zero-dte" else CHAIN
    chosen = dice.choice([*symbols, *ELSEWHERE], int(dice.integers(0, 5)), replace=False)
    holdings = {str(symbol): int(dice.choice([-2, -1, 1, 2, 3])) for symbol in chosen}
    holdings |= {"SPY": int(dice.choice([-60, -15, 40])), "QQQ": int(dice.choice([0, 25]))}
    faults = FaultsLater(rules_of(dice), seed)
    bench = LineDesk(folder, holdings, faults)
    held_share, held_for = float(dice.choice([0.0, 0.3, 0.7])), float(dice.uniform(0.5, 20.0))
    bench.options = replace(bench.options, absent_after_seconds=float(dice.choice([2.0, 10.0])))
    bench.latest_seconds = held_for if held_share else 0.0
    doubled = int(dice.choice([0, 1, 2]))
    ask, posts, fate = bench.line.ask, [0], [OnTheWay()]

    def twice(method, url, headers, body, on_answer):
        is_held = faults.is_armed and method != "GET" and dice.random() < held_share
        fate[0] = OnTheWay(held_for if is_held else 0.0)
        ask(method, url, headers, body, on_answer)
        posts[0] += method == "POST"
        if method == "POST" and doubled and posts[0] % doubled == 0:
            ask(method, url, headers, body, lambda _answer: None)

    bench.line.ask = twice
    bench.line.on_the_way = lambda *_: fate[0]

    async def play(desk):
        await desk.following()
        await asyncio.sleep(float(dice.uniform(0.0, 20.0)))
        before, held = len(desk.account.executions), desk.truth()
        faults.is_armed = True
        desk.desk.runner.stop(StopMode.FLATTEN)
        await desk.until(lambda: desk.desk.runner.state.reason, 1_000.0)
        at_the_end = desk.truth()
        faults.is_armed = False
        await asyncio.sleep(30.0)
        return desk.desk.runner.state.reason, before, held, at_the_end

    plan = bench.plan(strategy, *SETTINGS[strategy], "venue.flatten_seconds=900", contracts=8)
    return bench, bench.live(plan, play)


@pytest.mark.parametrize(
    "seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.second) for seed in range(3, 12))]
)
def test_a_flatten_under_faults_brings_every_position_to_zero_and_none_across_it(tmp_path, seed):
    bench, (reason, before, held, at_the_end) = play_seed(tmp_path, seed)
    with bench:
        for execution in bench.account.executions[before:]:
            instrument = bench.market.instruments[execution.instrument_id]
            symbol, signed = instrument.symbol, execution.side.sign * execution.quantity
            order = bench.engine.desk.orders.orders.get(execution.client_order_id)  # not of a leg
            purpose = Purpose.CLOSE if order is None else order.submitted.purpose
            options = [name for name, left in held.items() if left and name[:3] == symbol and name != symbol]
            what = f"{purpose} {signed:+} {symbol} of {held}"
            before_it, after_it = held.get(symbol, 0), held.get(symbol, 0) + signed
            if purpose is not Purpose.HEDGE:  # that may be on its way, or of options still held
                assert abs(after_it) < abs(before_it), what
                assert before_it * after_it >= 0, what
            if purpose is Purpose.UNWIND_HEDGE:
                assert not options, what
            held[symbol] = after_it
        assert (reason, at_the_end) == ("stopped: flat, and the venue shows it", {}), bench.said
        # a hedge that closes nothing any more counts as absent after the acceptance time-out
        if bench.latest_seconds < bench.options.timeout_seconds + bench.options.absent_after_seconds:
            assert bench.truth() == {}, "something arrived after the account was called flat"
