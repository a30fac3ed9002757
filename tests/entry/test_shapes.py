"""Shapes by their rows: which options of a chain they take, on days of the embedded market."""

import math
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.entry.shapes import SHAPES, STRADDLE, At, Distance, QuotedChain, ShapeLister, StructureConfig
from scalpdesk.instruments.contract import Instruments, options_in_order
from scalpdesk.instruments.events import EventKind, events_between
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.instruments.structure import Structure, StructureLeg
from scalpdesk_testing.kit.chain_desk import best_of, tools_of, view_at
from scalpdesk_testing.kit.instruments import option, share, straddle_book

LATER = date(2024, 5, 17)


@pytest.fixture(scope="module")
def view():
    return view_at(date(2017, 5, 10), "11:00")


def structure_in(view, **structure):
    """The legs that the scalper would open, by the order of the shape's row."""
    tools = tools_of(view, **structure)
    return best_of(tools, view).structure


def delta_of(view, leg):
    return view.delta_engine.state(leg.option_id, view.now_ns).greeks.delta


def test_a_straddle_is_a_call_and_a_put_of_one_strike_bought_one_each():
    book = straddle_book(500, 490)
    assert STRADDLE.at(reversed(options_in_order(book, "SPY"))) == [
        Structure((StructureLeg(3, option("C", 490), 1), StructureLeg(4, option("P", 490), 1))),
        Structure((StructureLeg(1, option("C", 500), 1), StructureLeg(2, option("P", 500), 1))),
    ]


def test_options_without_a_partner_of_their_root_are_left_out():
    book = Instruments(
        [
            share("SPX"),
            option("C", 5000, root="SPX"),
            option("P", 5000, root="SPXW"),
            option("C", 5100, root="SPXW"),
            option("P", 5100, root="SPXW"),
            option("P", 5200, root="SPXW"),
            option("C", 5200, LATER, root="SPXW"),
        ]
    )
    assert [each.option_ids for each in STRADDLE.at(options_in_order(book, "SPX"))] == [(3, 4)]


def test_the_twelve_shapes_are_there_by_name():
    assert sorted(SHAPES) == [
        "back_ratio", "broken_wing", "butterfly", "calendar", "diagonal", "iron_condor", "iron_fly", "ratio",
        "risk_reversal", "straddle", "strangle", "vertical",
    ]  # fmt: skip


@pytest.mark.rows("right", ["call", "put"])
@pytest.mark.rows("name", SHAPES)
def test_the_short_side_of_a_shape_has_the_same_options_with_the_other_sign(view, name, right):
    bought, sold = (structure_in(view, shape=name, side=side, right=right) for side in ("long", "short"))
    assert bought.option_ids == sold.option_ids
    assert [leg.ratio for leg in bought.legs] == [-leg.ratio for leg in sold.legs]


def test_an_iron_condor_has_its_wings_outside_its_body_and_both_at_their_deltas(view):
    call, put, call_wing, put_wing = structure_in(view, shape="iron_condor", body="30d", wing="8d").legs
    assert put_wing.contract.strike < put.contract.strike < call.contract.strike < call_wing.contract.strike
    deltas = [delta_of(view, leg) for leg in (call, put, call_wing, put_wing)]
    assert deltas == pytest.approx([0.30, -0.30, 0.08, -0.08], abs=0.04)
    assert [leg.ratio for leg in (call, put, call_wing, put_wing)] == [1, 1, -1, -1]


@pytest.mark.parametrize(("right", "sign"), [("call", 1), ("put", -1)])
def test_a_vertical_by_width_is_so_wide_to_the_side_of_its_right(view, right, sign):
    near, far = structure_in(view, shape="vertical", right=right, wing="5").legs
    assert far.contract.strike - near.contract.strike == 5 * sign
    assert {leg.contract.right.name.lower() for leg in (near, far)} == {right}


def test_a_body_in_moves_stands_so_many_standard_deviations_from_the_forward(view):
    call, put = structure_in(view, shape="strangle", body="1.5sd").legs
    smile = view.delta_engine.smile(call.option_id, view.now_ns)
    move = smile.vol(0.0) * math.sqrt(smile.variance_years)
    for leg, sign in ((call, 1), (put, -1)):
        wanted = smile.forward * math.exp(sign * 1.5 * move)
        assert float(leg.contract.strike) == pytest.approx(wanted, abs=0.51)


def test_a_leg_by_its_price_is_the_option_whose_mid_is_nearest(view):
    call, put = structure_in(view, shape="strangle", body="1.00p").legs
    for leg in (call, put):
        beside = [
            number
            for number, contract in options_in_order(view.instruments, "SPY")
            if (contract.expiry, contract.right) == (leg.contract.expiry, leg.contract.right)
        ]
        quotes = [view.market.quotes[number] for number in beside]
        off = [abs(quote.mid - 1.0) for quote in quotes if quote is not None and 0 < quote.bid < quote.ask]
        assert abs(view.market.quotes[leg.option_id].mid - 1.0) == pytest.approx(min(off))


def test_a_percentage_is_of_the_forward(view):
    call, put = structure_in(view, shape="strangle", body="2%").legs
    forward = view.delta_engine.smile(call.option_id, view.now_ns).forward
    assert [float(leg.contract.strike) / forward for leg in (call, put)] == pytest.approx(
        [1.02, 0.98], abs=3e-3
    )


def test_a_calendar_has_one_strike_and_the_listed_expiry_nearest_to_the_days_between(view):
    near, far = structure_in(view, shape="calendar", far_days=14).legs
    assert (near.ratio, far.ratio) == (-1, 1)
    assert near.contract.strike == far.contract.strike
    listed = {contract.expiry for _, contract in options_in_order(view.instruments, "SPY")}
    wanted = near.contract.expiry.toordinal() + 14
    later = {day for day in listed if day > near.contract.expiry}
    assert far.contract.expiry == min(later, key=lambda day: (abs(day.toordinal() - wanted), day))


def test_a_diagonal_sells_the_nearer_expiry_out_of_the_money(view):
    near, far = structure_in(view, shape="diagonal", right="put", wing="20d").legs
    assert near.contract.expiry < far.contract.expiry
    assert near.contract.strike < far.contract.strike
    assert abs(delta_of(view, near)) == pytest.approx(0.20, abs=0.03)


@pytest.mark.parametrize("count", [2, 3])
def test_a_ratio_has_so_many_contracts_against_one(view, count):
    assert [leg.ratio for leg in structure_in(view, shape="ratio", ratio=count).legs] == [1, -count]
    assert [leg.ratio for leg in structure_in(view, shape="back_ratio", ratio=count).legs] == [-1, count]


@pytest.mark.parametrize("right", ["call", "put"])
def test_a_butterfly_has_a_wing_on_each_side_and_a_broken_one_is_uneven(view, right):
    for name, is_even in (("butterfly", True), ("broken_wing", False)):
        structure = structure_in(view, shape=name, right=right, wing="5", outer=None if is_even else "10")
        centre = structure.lead.contract.strike
        offsets = sorted(leg.contract.strike - centre for leg in structure.legs[1:])
        assert (offsets == [-5, 5]) is is_even
        assert sorted(map(abs, offsets)) == ([5, 5] if is_even else [5, 10])


def test_only_the_first_expiry_after_the_next_event_is_taken(view):
    structure = structure_in(view, shape="straddle", after_event=EventKind.FOMC)
    event = events_between(view.now_ns, view.now_ns + 10**17, (EventKind.FOMC,))[0]
    listed = {expiry_instant_ns(each) for _, each in options_in_order(view.instruments, "SPY")}
    assert expiry_instant_ns(structure.nearest) == min(at for at in listed if at > event.at_ns)


class Patchy(QuotedChain):
    """A chain in which some strikes lack a bid, or both sides."""

    def __init__(self, view, *, unbid=(), unquoted=()):
        super().__init__(view.market, view.delta_engine, view.now_ns, 100)
        self.lacks = {False: {*unbid, *unquoted}, True: {*unquoted}}
        self.strike = {
            number: float(contract.strike) for number, contract in options_in_order(view.instruments, "SPY")
        }

    def traded(self, numbers, *, bought=False):
        found = super().traded(numbers, bought=bought)
        pairs = zip(numbers, found, strict=True)
        return [each and self.strike[number] not in self.lacks[bought] for number, each in pairs]


WIDE_SHAPES = [name for name, shape in SHAPES.items() if any(leg.at is At.WING for leg in shape.legs)]


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("name", WIDE_SHAPES)
def test_a_width_is_kept_to_or_refused_and_a_leg_that_is_only_bought_needs_no_bid(view, name, side):
    given = {"wing": "5", "outer": "10", "body": "1%"}
    settings = {"shape": name, "side": side} | {at.value: given[at] for at in SHAPES[name].places}
    day = best_of(tools_of(view, **settings), view).structure.first_expiry

    def listed(**lacks):
        lister = ShapeLister(StructureConfig(**settings))
        lister.learn(options_in_order(view.instruments, "SPY"))
        return lister, lister.list_now(Patchy(view, **lacks), view.now_ns, (day, day), centres=1)

    lister, (usual,) = listed()
    assert lister.unmet == ""
    wings = [leg for leg, row in zip(usual.legs, lister.shape.legs, strict=True) if row.at is not At.CENTRE]
    outermost = max(wings, key=lambda leg: abs(leg.contract.strike - usual.lead.contract.strike))
    at = float(outermost.contract.strike)
    lister, found = listed(unbid=(at,))
    if outermost.ratio > 0:
        assert found == [usual]
        assert not lister.named
    else:
        assert found == []
        assert f"that at {at:g} lacks both sides of a quote" in lister.unmet
    lister, found = listed(unquoted=(at,))
    assert found == []
    assert f"at {at:g} lacks" in lister.unmet


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("name", [name for name in WIDE_SHAPES if SHAPES[name].legs[0].at is At.CENTRE])
def test_the_first_leg_is_taken_at_the_nearest_strike_at_which_its_side_is_quoted(view, name, side):
    given = {"wing": "5", "outer": "10", "body": "1%"}
    settings = {"shape": name, "side": side} | {at.value: given[at] for at in SHAPES[name].places}
    day = best_of(tools_of(view, **settings), view).structure.first_expiry

    def first_leg(**lacks):
        lister = ShapeLister(StructureConfig(**settings))
        lister.learn(options_in_order(view.instruments, "SPY"))
        found = lister.list_now(Patchy(view, **lacks), view.now_ns, (day, day), centres=1)
        return found[0].legs[0] if found else None

    usual = first_leg()
    at = float(usual.contract.strike)
    is_bought = usual.ratio > 0
    assert (first_leg(unbid=(at,)) == usual) is is_bought


def test_a_distance_that_is_nearly_met_is_named():
    """A delta is met by the next option that is traded, in words; a width beyond the strikes is refused."""
    wild = view_at(date(2018, 2, 5), "15:00")
    tools = tools_of(wild, shape="iron_fly")
    structure = best_of(tools, wild).structure
    (words,) = {each for each in tools.lister.named.get(structure, ("",)) if each} or {""}
    assert not words or "lacks both sides of a quote" in words
    tools = tools_of(wild, shape="iron_fly", wing="900")
    assert best_of(tools, wild) is None
    assert "wing of 900" in tools.lister.unmet
    assert "the listed strikes end at" in tools.lister.unmet


def test_a_leg_is_a_strike_that_is_quoted():
    """At 15:00 of a wild day the option of the wanted delta has no bid: the next one that has is taken."""
    wild = view_at(date(2018, 2, 5), "15:00")
    for name in ("iron_fly", "iron_condor", "butterfly"):
        for leg in structure_in(wild, shape=name).legs:
            quote = wild.market.quotes[leg.option_id]
            assert 0.0 < quote.bid < quote.ask


@pytest.mark.rows("name", SHAPES)
@given(
    sets=st.integers(1, 9), side=st.sampled_from(["long", "short"]), right=st.sampled_from(["call", "put"])
)
def test_what_is_held_is_recognised_with_its_sets(view, name, sets, side, right):
    tools = tools_of(view, shape=name, side=side, right=right)
    structure = best_of(tools, view).structure
    held = {leg.option_id: Decimal(sets * leg.ratio) for leg in structure.legs}
    found = tools.lister.recognise(held)
    assert found is not None
    assert found.sets_held(held.__getitem__) == sets
    assert {(leg.option_id, leg.ratio) for leg in found.legs} == {
        (leg.option_id, leg.ratio) for leg in structure.legs
    }


def test_an_iron_fly_is_no_straddle_and_no_other_shape_takes_a_part_of_it(view):
    fly = structure_in(view, shape="iron_fly")
    held = {leg.option_id: Decimal(leg.ratio) for leg in fly.legs}
    for name in SHAPES:
        lister = tools_of(view, shape=name).lister
        assert (lister.recognise(held) is not None) is (name in {"iron_fly", "iron_condor"})
        assert lister.recognise({fly.legs[0].option_id: Decimal(1)}) is None


@pytest.mark.rows("text", ["", "d", "-5d", "60d", "nan", "25 delta", "5x", "infsd"])
def test_a_distance_that_cannot_be_read_is_refused_with_its_key(text):
    with pytest.raises(ConfigError, match=r"structure\.wing"):
        StructureConfig(shape="iron_fly", wing=text)


@pytest.mark.rows(
    ("text", "amount", "unit"),
    [("25d", 25, "d"), ("1.5sd", 1.5, "sd"), ("2%", 2, "%"), ("5", 5, ""), ("1.20p", 1.2, "p")],
)
def test_a_distance_is_a_number_with_a_unit(text, amount, unit):
    assert Distance.of(text, "structure.wing") == (amount, unit)


def test_an_unknown_shape_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="iron_condor"):
        StructureConfig(shape="iron_condors")


def test_a_shape_that_needs_the_market_is_not_listed_from_the_chain_alone():
    with pytest.raises(ArgumentError):
        SHAPES["strangle"].at([])


def test_without_a_later_expiry_there_is_no_calendar():
    lister = ShapeLister(StructureConfig(shape="calendar"))
    lister.learn(options_in_order(straddle_book(500), "SPY"))
    assert lister.all_centred() == []


@pytest.mark.rows(
    ("settings", "where", "fix"),
    [
        ({"shape": "straddle", "wing": "5"}, "structure.wing", "leave it out"),
        ({"shape": "vertical", "body": "25d"}, "structure.body", "structure.wing"),
        ({"shape": "strangle", "outer": "5"}, "structure.outer", "structure.body"),
        ({"shape": "strangle", "body": "25"}, "structure.body", "25d for a delta of 0.25, 25.00"),
        ({"shape": "iron_fly", "wing": "0.25"}, "structure.wing", "25d for a delta of 0.25"),
        ({"shape": "iron_fly", "wing": "0.25d"}, "structure.wing", "25d for a delta of 0.25"),
    ],
)
def test_a_distance_that_goes_nowhere_or_reads_two_ways_is_refused(settings, where, fix):
    with pytest.raises(ConfigError) as caught:
        StructureConfig(**settings)
    assert caught.value.where == where
    assert caught.value.value == settings[where.partition(".")[2]]
    assert fix in caught.value.fix


def test_a_width_in_currency_is_taken_as_it_is_written():
    for width in ("5", "10", "25.00", "100", "0.5"):
        assert StructureConfig(shape="iron_fly", wing=width).wing == width
