"""Seeded trials: laws hold, the same seed gives the same run, and what was met is counted."""

import asyncio
import json
import re
from collections import Counter
from decimal import Decimal
from itertools import product

import msgspec
import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import OpenInterestEvent, SessionEvent
from scalpdesk.core.intents import LegOrders, Purpose
from scalpdesk.venues.tracker import OrderTracker
from scalpdesk_testing.alpaca_trial import AlpacaTrial
from scalpdesk_testing.campaign import (
    IMPOSSIBLE_EDGES,
    all_edges,
    all_pairs,
    impossible_pairs,
    run_campaign,
    run_chunk,
    run_trial,
    trial_of,
)
from scalpdesk_testing.market import CALL
from scalpdesk_testing.schedule import (
    ASSIGNED,
    CALLED,
    CORRECTION,
    CRASHES,
    LEADS_TO,
    SOLD_SHAPES,
    STORIES,
    STRAY,
    TRANSFER,
    Crash,
    Moment,
    Story,
    draw_faults,
    draw_schedule,
    quiet_schedule,
    with_story,
)
from scalpdesk_testing.workers import Worker

pytestmark = pytest.mark.second


@pytest.mark.parametrize("seed", range(40))
def test_laws_hold(seed):
    assert run_trial(draw_schedule(seed)).violations == []


def test_quiet_day_trades_hedges_and_ends_flat():
    outcome = run_trial(quiet_schedule(4))
    assert outcome.violations == []
    assert outcome.orders >= 6
    assert (outcome.faults, outcome.lives) == (0, 1)


@pytest.mark.parametrize("seed", [*range(8), 865])  # 865: a token that ends between the login and its use
def test_laws_hold_over_deribits_protocol(seed):
    make = trial_of("deribit")
    assert run_trial(make.draw(seed), make=make).violations == []


@pytest.mark.parametrize(
    "seed",
    [
        *range(6),
        277,  # executions missed on a broken line, counted by the end of their order
        352,  # a cancel of an order that TWS has never shown
    ],
)
def test_laws_hold_over_tws(seed):
    make = trial_of("tws")
    first, again = (run_trial(make.draw(seed), make=make) for _ in range(2))
    assert (first.violations, first.digest) == ([], again.digest)


@pytest.mark.parametrize(
    ("protocol", "seed"),
    [
        ("alpaca", 430),  # after a leap one leg of a mark still went by the volatility of before
        ("alpaca", 721),  # an order went out again after its cancel, and worked on
        ("alpaca", 773),  # an order that came again for less is not over as long as the first one would be
        ("alpaca", 835),  # what the venue refuses to take again is in doubt for a minute of its own
        ("alpaca", 3_566),  # a bust came after the end of its order, which counted another execution
        ("alpaca", 40_079),  # a charged fee in place of a cent that the venue had rounded up
        ("alpaca", 40_460),  # an end counted by an execution taken back before it was known
        ("alpaca", 50_347),  # a hedge in doubt lived after the last option, and was wanted no more
        ("alpaca", 50_654),  # an execution of the journal was moved onto one that had been inferred
        ("alpaca", 40_960),  # a patient hedge rested on after the last option
        ("alpaca", 51_159),  # a liquidation of the very instant of the view that was taken over
        (
            "alpaca",
            90_211,
        ),  # a share's row without sides, and an option lost the volatility that it had shown
        ("tws", 90_012),  # a forced sale's commission came with the first answer alone
        ("alpaca", 90_156),  # a leg was assigned while its exit was on its way
        ("tws", 310_178),  # a second order was refused before the account was compared, and forgotten
        ("alpaca", 310_126),  # a late hedge was judged at a quote without a price
        ("alpaca", 320_026),  # an option that left the feed before the desk saw the share
        ("tws", 320_155),  # options that the session had not quoted yet
        ("tws", 310_027),  # a bust of a dead desk's time, whose place an execution of later was moved to
        ("tws", 51_088),  # the stream's positions stood beside those of the answer
        ("alpaca", 129),  # a wing was sold while its leg could not be bought back
        ("deribit", 458),  # a purchase by the model was priced beyond every collar
        ("deribit", 1_368),  # an entry went on after the moment of its own exit
        ("alpaca", 5_967),  # an option was sold by the model's margin, against the venue's own word
        ("deribit", 1_473),  # quotes of days ago, whose spot no desk knows, sized a hedge of an iron fly
        ("deribit", 1_543),  # the broker's own order, still at work after a margin call, was a stranger's
        ("deribit", 2_614),  # the history was asked for up to a clock that had been set back
        ("deribit", 40_473),  # a stream that was asked for and never answered
        ("tws", 40_070),  # the second execution in the journal, the first only in the history
        ("tws", 41_306),  # an execution taken back unseen kept the place of the last one
        ("tws", 41_661),  # the first quote of a line opened again was minutes old
        ("tws", 700_054),  # a question of the old connection had the number of one of the new
        ("tws", 700_061),  # a corrected execution kept the late fee of the one before
        ("alpaca", 710_034),  # a sold leg is hedged at the volatility of its entry, too
        ("alpaca", 710_475),  # the broker's own order, still at work, which no field tells from a stranger's
        ("deribit", 410_296),  # a look at the account began by the venue's time, and the line went mute
        ("deribit", 710_720),  # a sale filled after its confirmed cancel, beside its successor
        (
            "tws",
            950_313,
        ),  # an overdue comparison took back what a list had shown, and a flatten bought the book's
        ("tws", 960_283),  # a put that the venue did not show was hedged on in a flatten, against its sales
        ("tws", 920_117),  # two strategies each closed the one contract that a list showed
        ("tws", 930_051),  # a fly sent by legs was never completed, its wings held
    ],
)
def test_laws_hold_at_seeds_that_broke_one(protocol, seed):
    make = trial_of(protocol)
    assert run_trial(make.draw(seed), make=make).violations == []


@pytest.mark.parametrize("protocol", ["alpaca", "deribit", "tws"])
def test_seeds_draw_combos_and_changes_of_size(protocol):
    forms = Counter((each.leg_orders, each.max_multiple) for each in map(trial_of(protocol).draw, range(60)))
    assert set(forms) == set(product((LegOrders.LEGS, LegOrders.COMBO), (None, 2.0)))
    assert min(forms.values()) >= 5


@pytest.mark.parametrize("protocol", ["alpaca", "deribit", "tws"])
def test_seeds_that_sell_draw_every_shape_in_both_forms_assignments_and_calls(protocol):
    drawn = [each for each in map(trial_of(protocol).draw, range(1_000)) if each.is_sold]
    assert set(Counter((each.shape, each.leg_orders) for each in drawn)) == set(
        product(SOLD_SHAPES, (LegOrders.LEGS, LegOrders.COMBO))
    )
    kinds = Counter(moment.kind for each in drawn for moment in each.moments)
    jumps = sum(each.is_jump for each in drawn)
    assert (kinds[ASSIGNED] > 20) is (protocol != "deribit")  # a European option is not assigned early
    assert (kinds[CALLED] > 20) is (protocol != "tws")  # TWS names no cause of a change of cash
    assert jumps >= 8
    assert all(each.called_at is None or each.shape == "straddle" or not each.is_jump for each in drawn)


def test_what_else_a_seed_draws_does_not_depend_on_what_it_sells():
    for seed in range(200):
        plain, drawn = with_story(draw_faults(seed), STORIES[seed % len(STORIES)]), draw_schedule(seed)
        own = {"shape", "called_at", "is_jump", "moments", "aim", "bad_answers"}
        assert all(
            getattr(plain, name) == getattr(drawn, name)
            for name in plain.__struct_fields__
            if name not in own
        )
        kept = [each for each in drawn.moments if each.kind not in (ASSIGNED, CALLED)]
        assert set(kept) <= set(plain.moments)
        assert drawn.is_sold or msgspec.structs.replace(drawn, bad_answers=()) == plain


@pytest.mark.parametrize("protocol", ["alpaca", "deribit"])
def test_a_broker_closes_what_the_account_carries_no_more_and_the_desk_opens_nothing(tmp_path, protocol):
    schedule = quiet_schedule(
        5,
        is_sold=True,
        called_at=36.0,
        heal_at=100.0,
        moments=(Moment(36.0, CALLED, 30.0),),
    )
    trial = trial_of(protocol)(schedule, tmp_path)
    outcome = trial.run()
    assert outcome.violations == []
    forced = [order for order in trial.account.orders.values() if order.is_forced]
    assert sum(order.filled for order in forced) > 0
    first_ns = min(order.created_ns for order in forced)
    later = [
        order
        for order in trial.engine.desk.orders.orders.values()
        if order.created_ns > first_ns and order.submitted.purpose is Purpose.OPEN
    ]
    assert later == []


@pytest.mark.parametrize("protocol", ["alpaca", "deribit", "tws"])
def test_a_straddle_is_bought_scaled_and_sold_as_one_order(protocol):
    schedule = quiet_schedule(4, leg_orders=LegOrders.COMBO, max_multiple=2.0)
    outcome = run_trial(schedule, verbose=True, make=trial_of(protocol))
    assert outcome.violations == []
    sent = [text for _, kind, text in outcome.says if kind == "event" and "MultiLegOrder" in text]
    sets = {quantity for text in sent for quantity in re.findall(r"quantity=Decimal\('(\d+)'\)", text)}
    assert len(sent) >= 4
    assert len(sets) >= 2


@pytest.mark.parametrize("protocol", ["alpaca", "deribit", "tws"])
def test_an_execution_of_a_combos_leg_that_the_venue_does_not_have_is_noticed(monkeypatch, protocol):
    """A price within the bounds of its order: what lies beyond them is refused and asked anew."""
    for name in ("execution", "next_execution"):
        plain = getattr(OrderTracker, name)

        def dreamt(self, order, number, quantity, price, *rest, plain=plain, **more):
            nearly = price * Decimal("0.999") if order.parent_id else price
            return plain(self, order, number, quantity, nearly, *rest, **more)

        monkeypatch.setattr(OrderTracker, name, dreamt)
    outcome = run_trial(quiet_schedule(4, leg_orders=LegOrders.COMBO), make=trial_of(protocol))
    assert "11 executions_are_the_venues" in {each.invariant for each in outcome.violations}


def test_each_story_comes_in_turn_and_changes_nothing_else_of_a_draw():
    drawn = [draw_schedule(seed) for seed in range(180)]
    assert Counter(each.story for each in drawn) == dict.fromkeys(Story, 20)
    for each in drawn:
        faults = draw_faults(each.seed)
        assert set(faults.rules) <= set(each.rules)
        assert set(faults.moments) <= set(each.moments)
        assert (each.day, each.heal_at, each.aim) == (faults.day, faults.heal_at, faults.aim)


def test_a_transfer_and_a_dividend_move_the_sessions_start_and_the_income_of_the_share():
    paid = (Moment(at, "dividend") for at in (60.0, 80.0, 100.0))
    moments = (Moment(20.0, TRANSFER, 8.5), Moment(40.0, TRANSFER, 1.0), *paid)
    outcome = run_trial(quiet_schedule(4, holds=True, moments=moments), verbose=True)
    assert outcome.violations == []
    booked = [text for _, _, text in outcome.says if "booked from the venue's account" in text]
    assert [text.rpartition(" ")[2] for text in booked if "JNLC" in text] == ["+2500.00", "-5000.00"]
    assert any("DIV SPY" in text for text in booked)


def test_rejection_of_a_part_and_a_fill_beyond_an_order_change_nothing_else():
    parts, strays = LEADS_TO["partially_filled"], (Moment(20.0, STRAY, 60.0), Moment(235.0, STRAY))
    outcome = run_trial(quiet_schedule(4, holds=True, rules=parts, moments=strays), verbose=True)
    assert outcome.violations == []
    assert outcome.lives == 1
    assert outcome.edges["partially_filled > cancelled"] >= 1
    said = [text for _, _, text in outcome.says]
    assert [text for text in said if "partially_filled > cancelled by OrderRejected" in text]
    assert [text for text in said if "execution_id='stray-" in text]


def test_a_correction_strikes_an_order_that_works_and_leaves_its_rest_at_work():
    moments = (Moment(20.0, CORRECTION, 60.0),)
    parts = LEADS_TO["partially_filled"]
    outcome = run_trial(quiet_schedule(4, holds=True, rules=parts, moments=moments), verbose=True)
    assert outcome.violations == []
    states = [text for _, kind, text in outcome.says if kind == "state"]
    (corrected,) = [text for _, _, text in outcome.says if "is_corrected=True" in text]
    name = re.search(r"client_order_id='(t4-\d+)'", corrected)[1]
    assert f"{name} working > partially_filled by OrderFilled" in states


@pytest.mark.parametrize(("max_loss", "ends"), [(60, True), (None, False)])
def test_a_loss_at_its_limit_ends_the_sessions_trading(max_loss, ends):
    outcome = run_trial(quiet_schedule(3, holds=True, max_multiple=2.0, max_loss=max_loss), verbose=True)
    assert outcome.violations == []
    timers = [text for _, _, text in outcome.says if "TimerEvent" in text and "'flatten'" in text]
    assert bool(timers) is ends


@pytest.mark.parametrize("how", CRASHES)
@pytest.mark.parametrize("protocol", ["deribit", "tws"])
def test_a_death_at_a_write_is_survived_over_other_protocols(how, protocol):
    outcome = run_trial(quiet_schedule(4, crashes=(Crash(2, how),)), make=trial_of(protocol))
    assert (outcome.violations, outcome.lives) == ([], 2)


def test_a_leg_without_quotes_is_hedged_over_deribits_protocol():
    gone = Moment(20.0, "left_feed")
    quiet = quiet_schedule(0, heal_at=50.0, seconds=255, moments=(gone,))
    outcome = run_trial(quiet, verbose=True, make=trial_of("deribit"))
    assert outcome.violations == []
    hedges = [at for at, _, text in outcome.says if "Purpose.HEDGE" in text and "SubmitOrder" in text]
    assert len([at for at in hedges if at > gone.at]) >= 2


def test_schedules_differ_by_seed_and_repeat():
    drawn = [draw_schedule(seed) for seed in range(50)]
    assert len(set(map(str, drawn))) == 50
    assert drawn == [draw_schedule(seed) for seed in range(50)]


@pytest.mark.parametrize("how", CRASHES)
@pytest.mark.parametrize("write", [1, 2, 3, 5])
def test_death_at_a_write_is_survived(how, write):
    outcome = run_trial(quiet_schedule(4, crashes=(Crash(write, how),)))
    assert outcome.violations == []
    assert outcome.lives == 2


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5, 0.8, 0.99])
def test_torn_write_is_cut_and_the_run_goes_on(fraction):
    outcome = run_trial(quiet_schedule(4, crashes=(Crash(2, "torn", fraction),)))
    assert outcome.violations == []
    assert outcome.lives == 2


@pytest.mark.parametrize("seed", [0, 9])
def test_contract_that_leaves_the_feed_is_hedged_to_the_end_and_its_exit_works(seed):
    gone = Moment(20.0, "left_feed")
    outcome = run_trial(quiet_schedule(seed, heal_at=50.0, seconds=255, moments=(gone,)), verbose=True)
    assert outcome.violations == []
    hedges = [at for at, _, text in outcome.says if "Purpose.HEDGE" in text and "SubmitOrder" in text]
    assert len([at for at in hedges if at > gone.at]) >= 2


@pytest.mark.parametrize("hash_seed", [1, 2])
def test_digest_does_not_depend_on_the_hash_seed(hash_seed):
    elsewhere = Worker(hash_seed, run_chunk)
    try:
        elsewhere.give(range(3))
        assert elsewhere.take().digests == run_chunk(range(3)).digests
    finally:
        elsewhere.end()


def test_different_seeds_have_different_digests():
    assert len(set(run_chunk(range(6)).digests.values())) == 6


def test_campaign_counts_what_it_met():
    told = []
    found = run_campaign(0, 12, workers=1, progress=lambda done, of: told.append((done, of)))
    assert found.violations == []
    assert (found.seeds, told[-1]) == (12, (12, 12))
    assert found.orders > 100
    assert found.faults_injected > 100
    assert set(found.edges) <= set(all_edges())
    assert set(found.pairs) <= {*all_pairs(), *impossible_pairs()}
    assert "pending_new > unknown" in found.edges
    assert not set(found.edges) & set(IMPOSSIBLE_EDGES)
    assert set(found.unhit_edges()) == set(all_edges()) - set(found.edges)


def test_campaign_refuses_an_empty_range():
    with pytest.raises(ArgumentError, match="range of seeds"):
        run_campaign(5, 5)


def test_selftest_seeds_as_json(capsys):
    assert main(["selftest", "--seeds", "0:3", "--workers", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"seeds", "violations", "faults_injected", "orders", "wall_seconds"} <= set(document)
    assert (document["seeds"], document["violations"]) == (3, [])


def test_selftest_seed_tells_the_trial(capsys):
    assert main(["selftest", "--seed", "2"]) == 0
    told = capsys.readouterr().out
    assert "session 2018-" in told
    assert "pending_new > working" in told


@pytest.mark.parametrize(
    "words", [["--seeds", "9:3"], ["--seeds", "x"], [], ["--seed", "1", "--seeds", "0:2"]]
)
def test_selftest_says_how_it_is_used(words, capsys):
    assert main(["selftest", *words]) == 2
    assert "fix:" in capsys.readouterr().err


def test_a_trial_that_never_ends_is_a_verdict():
    class Endless(AlpacaTrial):
        async def _live(self, *, is_first):
            while True:  # noqa: ASYNC110 - the fault that is looked for
                await asyncio.sleep(0.0)

    outcome = run_trial(quiet_schedule(4), make=Endless)
    assert [each.invariant for each in outcome.violations] == ["0 trial_ends"]
    assert run_trial(quiet_schedule(4)).violations == []


def test_a_trial_whose_desk_is_fed_without_end_is_a_verdict():
    class Fed(AlpacaTrial):
        def watch(self, event, feed):
            if type(event) is SessionEvent:
                self.loop.call_later(1.0, self._feed_on)
            return super().watch(event, feed)

        def _feed_on(self):
            now_ns = self.clock.now_ns()
            self.mishaps.runner.put(OpenInterestEvent(CALL, now_ns, now_ns, 5_000))
            self.loop.call_later(0.01, self._feed_on)

    outcome = run_trial(quiet_schedule(4), make=Fed)
    assert [each.invariant for each in outcome.violations] == ["0 trial_ends"]
