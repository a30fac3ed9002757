"""Twelve trades worked by hand, each on an underlying of its own, and what the accountant makes of them."""

from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.accounting.accountant import by_symbol, keep_books
from scalpdesk.accounting.entries import EntryKind
from scalpdesk.accounting.forms import tax_year
from scalpdesk.accounting.lots import LotMethod
from scalpdesk.core.errors import DataError
from scalpdesk.core.units import ZERO

D = Decimal
SPX_MARK = {(2024, "SPX250321C05800000"): D("80.00")}


def three_lots(days):
    # 100 at 50 + 1, 100 at 60 + 1, 100 at 55 + 1; 150 sold for 8700 - 1.50: 5799 for 100, 2899.50 for 50
    days.trade("2024-01-03", "KO", 100, 50, 1, ref="o/a")
    days.trade("2024-02-05", "KO", 100, 60, 1, ref="o/b")
    days.trade("2024-03-04", "KO", 100, 55, 1, ref="o/c")
    days.trade("2024-05-06", "KO", -150, 58, "1.50", ref="o/d")


def partial_lots(days):
    # 30 cost 300.30 + 0.10 = 300.40; in cents 100.13, half of 200.27: 100.14, the rest 100.13
    days.trade("2024-02-01", "PEP", 30, "10.01", "0.10")
    for day, price in (("2024-02-08", 12), ("2024-02-09", 11), ("2024-02-12", 13)):
        days.trade(day, "PEP", -10, price, "0.05")


def short_sale(days):
    # sold 11000 - 1 = 10999, bought back for 10400 + 1 = 10401: 598, short-term
    days.trade("2024-03-01", "XOM", -100, 110, 1)
    days.trade("2024-04-01", "XOM", 100, 104, 1)


def call_sold(days):
    # 320 + 0.65 = 320.65 paid, 470 - 0.65 = 469.35 got: 148.70
    days.trade("2024-04-02", "MSFT 240517 C 430", 1, "3.20", "0.65")
    days.trade("2024-04-22", "MSFT 240517 C 430", -1, "4.70", "0.65")


def put_lapsed(days):
    # 2 x 110 + 1.30 = 221.30 lost on the day of the expiry
    days.trade("2024-05-06", "META 240517 P 400", 2, "1.10", "1.30")
    days.line("2024-05-17", "META 240517 P 400", -2, 0, EntryKind.LAPSE)


def covered_call(days):
    # premium 250 - 0.65 = 249.35; shares at the strike 19500 + 249.35 = 19749.35 less 19000: 749.35
    days.trade("2024-01-10", "JPM", 100, 190)
    days.trade("2024-06-03", "JPM 240621 C 195", -1, "2.50", "0.65")
    days.line("2024-06-21", "JPM 240621 C 195", 1, 0, EntryKind.EXERCISE)
    days.line("2024-06-21", "JPM", -100, 19500, EntryKind.DELIVERY)


def wash_by_shares(days):
    # 100 lost 1000; 40 bought on day 14: 400 disallowed, their cost 2880 + 400, held 151 days before
    days.trade("2024-02-01", "CVX", 100, 80)
    days.trade("2024-07-01", "CVX", -100, 70)
    days.trade("2024-07-15", "CVX", 40, 72)


def wash_by_call(days):
    # 100 lost 500, a call on 100 bought on day 8: all disallowed; it cost 200.65 + 500, got 299.35: -401.30
    days.trade("2024-03-01", "INTC", 100, 40)
    days.trade("2024-08-01", "INTC", -100, 35)
    days.trade("2024-08-09", "INTC 241018 C 36", 1, "2.00", "0.65")
    days.trade("2024-09-20", "INTC 241018 C 36", -1, "3.00", "0.65")


def replaced_before(days):
    # 100 lost 600 nine days after another 100 were bought: their cost 4500 + 600, held 280 days before
    # 1 October: since 26 December 2023, so that the 100 gained on 30 December are long-term
    days.trade("2024-01-04", "DIS", 100, 50)
    days.trade("2024-10-01", "DIS", 100, 45)
    days.trade("2024-10-10", "DIS", -100, 44)
    days.trade("2024-12-30", "DIS", -100, 52)


def index_option(days):
    # 5001 paid, worth 8000 at the end of 2024: 2999; sold for 6999 in 2025: -1001
    days.trade("2024-11-01", "SPX 250321 C 5800", 1, 50, 1)
    days.trade("2025-02-03", "SPX 250321 C 5800", -1, 70, 1)


def future_hedge(days):
    # 2 x 50 x (5600 - 5580.25) = 1975, less 9 of fees: 1966
    days.trade("2024-08-05", "ES_202409", -2, "5600.00", "4.50")
    days.trade("2024-08-06", "ES_202409", 2, "5580.25", "4.50")


def long_term(days):
    # 10 x (150 - 100), a year and two days
    days.trade("2023-06-15", "NKE", 10, 100)
    days.trade("2024-06-17", "NKE", -10, 150)


SHORT, LONG, MIXED = "A", "D", "6781"
TWELVE = {
    # (box, acquired, sold, proceeds, cost, disallowed, gain) of each disposal of 2024; of 6781 the gain alone
    three_lots: [
        (SHORT, "2024-01-03", "2024-05-06", "5799.00", "5001.00", "0", "798.00"),
        (SHORT, "2024-02-05", "2024-05-06", "2899.50", "3000.50", "0", "-101.00"),
    ],
    partial_lots: [
        (SHORT, "2024-02-01", "2024-02-08", "119.95", "100.13", "0", "19.82"),
        (SHORT, "2024-02-01", "2024-02-09", "109.95", "100.14", "0", "9.81"),
        (SHORT, "2024-02-01", "2024-02-12", "129.95", "100.13", "0", "29.82"),
    ],
    short_sale: [(SHORT, "2024-04-01", "2024-04-01", "10999.00", "10401.00", "0", "598.00")],
    call_sold: [(SHORT, "2024-04-02", "2024-04-22", "469.35", "320.65", "0", "148.70")],
    put_lapsed: [(SHORT, "2024-05-06", "2024-05-17", "0.00", "221.30", "0", "-221.30")],
    covered_call: [(SHORT, "2024-01-10", "2024-06-21", "19749.35", "19000.00", "0", "749.35")],
    wash_by_shares: [(SHORT, "2024-02-01", "2024-07-01", "7000.00", "8000.00", "400.00", "-600.00")],
    wash_by_call: [
        (SHORT, "2024-03-01", "2024-08-01", "3500.00", "4000.00", "500.00", "0.00"),
        (SHORT, "2024-08-09", "2024-09-20", "299.35", "700.65", "0", "-401.30"),
    ],
    replaced_before: [
        (SHORT, "2024-01-04", "2024-10-10", "4400.00", "5000.00", "600.00", "0.00"),
        (LONG, "2024-10-01", "2024-12-30", "5200.00", "5100.00", "0", "100.00"),
    ],
    index_option: [(MIXED, "2024-11-01", "2024-12-31", "2999.00")],
    future_hedge: [(MIXED, "2024-08-05", "2024-08-06", "1966.00")],
    long_term: [(LONG, "2023-06-15", "2024-06-17", "1500.00", "1000.00", "0", "500.00")],
}


def books_of(days, **terms):
    return keep_books(days.in_order(), until=2025, marks=by_symbol(SPX_MARK), **terms)


def lines(tables):
    columns = "box", "acquired", "sold", "proceeds", "cost", "adjustment", "gain"
    found = [tuple(row[name] for name in columns) for row in tables.form_8949]
    found += [(MIXED, row["opened"], row["ended"], row["gain"] - row["loss"]) for row in tables.form_6781]
    return found


def exact(rows):
    return [(*row[:3], *map(D, row[3:])) for row in rows]


@pytest.mark.parametrize("write", TWELVE, ids=lambda write: write.__name__)
def test_the_trade_comes_out_as_by_hand(days, write):
    write(days)
    assert lines(tax_year(books_of(days), (), 2024)) == exact(TWELVE[write])


def test_the_year_of_all_twelve_sums_to_schedule_d(days):
    for write in TWELVE:
        write(days)
    tables = tax_year(books_of(days), (), 2024)
    by_line = {row["line"]: row["gain"] for row in tables.schedule_d}
    # short-term 697 + 59.45 + 598 + 148.70 - 221.30 + 749.35 - 600 - 401.30; long-term 100 + 500;
    # 60 and 40 % of 2999 + 1966 = 4965
    expected = {"1b": "1029.90", "4": "1986.00", "8b": "600.00", "11": "2979.00"}
    assert by_line == {line: D(gain) for line, gain in expected.items()}
    assert [row["code"] for row in tables.form_8949 if row["adjustment"]] == ["W", "W", "W"]
    later = tax_year(books_of(days), (), 2025)
    assert [(row["note"], row["gain"] - row["loss"]) for row in later.form_6781] == [("closed", D("-1001"))]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        # b: 5799 - 6001, and 50 of c: 2899.50 - 2750.50
        (LotMethod.HIGHEST_COST, [("o/b", "-202.00"), ("o/c", "149.00")]),
        # all of c: 5799 - 5501, and 50 of a: 2899.50 - 2500.50
        (LotMethod.SPECIFIC, [("o/c", "298.00"), ("o/a", "399.00")]),
        (LotMethod.FIFO, [("o/a", "798.00"), ("o/b", "-101.00")]),
    ],
)
def test_each_method_ends_its_lots(days, method, expected):
    three_lots(days)
    chosen = {"d": [("c", D(100)), ("o/a", D(50))]}
    found = books_of(days, method=method, chosen=chosen).disposals
    assert [(each.lot, each.gain) for each in found] == [(lot, D(gain)) for lot, gain in expected]


def test_an_identified_lot_that_is_gone_is_refused(days):
    three_lots(days)
    with pytest.raises(DataError, match="o/a"):
        books_of(days, method=LotMethod.SPECIFIC, chosen={"o/d": [("o/a", D(140))]})


def test_the_disallowed_loss_sits_in_the_replacement(days):
    wash_by_shares(days)
    (lot,) = books_of(days).open_lots
    assert (lot.units, -lot.cash, lot.held_since) == (40, D(3280), date(2024, 2, 15))


@pytest.mark.parametrize(
    ("bought", "disallowed"),
    [("2024-07-31", 1000), ("2024-08-01", 0), ("2024-06-01", 1000), ("2024-05-31", 0)],
)
def test_the_window_is_30_days_on_either_side(days, bought, disallowed):
    days.trade("2024-02-01", "CVX", 100, 80, ref="first/x")
    days.trade(bought, "CVX", 100, 72)
    days.trade("2024-07-01", "CVX", -100, 70)
    sale = next(each for each in books_of(days).disposals)
    assert (sale.lot, sale.wash) == ("first/x", disallowed)


def test_the_rest_of_one_purchase_does_not_replace_its_part(days):
    days.trade("2024-06-20", "CVX", 60, 80, purchase="order")
    days.trade("2024-06-20", "CVX", 40, 80, purchase="order")
    days.trade("2024-07-01", "CVX", -60, 70)
    books = books_of(days)
    assert [each.wash for each in books.disposals] == [0]


def test_each_share_replaces_once_and_losses_wait_in_their_order(days):
    days.trade("2024-02-01", "CVX", 100, 80)
    days.trade("2024-07-01", "CVX", -50, 70)  # 500 lost
    days.trade("2024-07-02", "CVX", -50, 60)  # 1000 lost
    days.trade("2024-07-15", "CVX", 70, 62)  # replaces all 50 of the first, 20 of the second: 500 + 400
    first, second = books_of(days).disposals
    assert (first.wash, second.wash) == (500, 400)
    assert sorted(-lot.cash for lot in books_of(days).open_lots) == [D(20 * 62 + 400), D(50 * 62 + 500)]


def test_a_short_sale_entered_again_disallows_the_loss_of_the_one_before(days):
    days.trade("2024-03-01", "XOM", -100, 100)
    days.trade("2024-03-20", "XOM", 100, 107)  # 700 lost
    days.trade("2024-04-02", "XOM", -100, 106)
    days.trade("2024-05-02", "XOM", 100, 101)  # 10600 - 700 got, 10100 paid
    assert [(each.wash, each.gain) for each in books_of(days).disposals] == [(700, 0), (0, -200)]


@pytest.mark.parametrize(("price", "year"), [(110, 2025), (90, 2024)])
def test_a_loss_of_a_short_sale_counts_when_it_settles(days, price, year):
    days.trade("2024-12-02", "XOM", -10, 100)
    days.trade("2024-12-31", "XOM", 10, price)
    (closed,) = books_of(days).disposals
    assert closed.recognised.year == year


@pytest.mark.parametrize(
    ("option", "bought", "shares", "cash", "expected"),
    [
        # exercised call: 10000 + 300 paid; put: 10000 - 300 got; assigned put: 10000 - 300 paid
        ("KO 240621 C 100", 1, 100, -10000, D(-10300)),
        ("KO 240621 P 100", 1, -100, 10000, D(9700)),
        ("KO 240621 P 100", -1, 100, -10000, D(-9700)),
        ("KO 240621 C 100", -1, -100, 10000, D(10300)),
    ],
)
def test_the_premium_goes_into_the_shares(days, option, bought, shares, cash, expected):
    days.trade("2024-05-01", option, bought, 3)
    days.line("2024-06-21", option, -bought, 0, EntryKind.EXERCISE)
    days.line("2024-06-21", "KO", shares, cash, EntryKind.DELIVERY)
    books = books_of(days)
    assert books.disposals == []
    assert [(lot.units, lot.cash, lot.acquired) for lot in books.open_lots] == [
        (shares, expected, date(2024, 6, 21))
    ]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_each_delivery_of_a_night_takes_the_premium_of_its_strike(days, order):
    options = [("KO 240621 C 60", 5, 6000), ("KO 240621 C 65", 1, 6500)]
    for option, price, _ in options:
        days.trade("2024-05-01", option, -1, price)
    for option, _, _ in options:
        days.line("2024-06-21", option, 1, 0, EntryKind.EXERCISE)
    for place in order:
        days.line("2024-06-21", "KO", -100, options[place][2], EntryKind.DELIVERY)
    assert sorted(lot.cash for lot in books_of(days).open_lots) == [6500, 6600]


def test_losses_of_section_1256_are_never_wash_sales(days):
    for day in ("2024-08-05", "2024-08-07"):
        days.trade(day, "SPX 240920 C 5500", 1, 50)
        days.trade(day, "SPX 240920 C 5500", -1, 40)
    assert [(each.gain, each.wash) for each in books_of(days).disposals] == [(-1000, 0)] * 2


def test_an_unknown_price_at_the_years_end_is_asked_for(days):
    index_option(days)
    with pytest.raises(DataError, match="2024") as refused:
        keep_books(days.in_order(), until=2024)
    assert "--marks" in refused.value.fix


def test_a_split_keeps_the_cost_and_divides_it_anew(days):
    days.trade("2024-01-03", "KO", 10, 50)
    days.trade("2024-01-04", "KO", 5, 40)
    days.line("2024-06-10", "KO", 45, 0, EntryKind.RESCALE)  # four for one
    days.trade("2024-06-11", "KO", -40, 13)
    books = books_of(days)
    assert [(each.units, each.gain) for each in books.disposals] == [(40, 520 - 500)]
    assert [(lot.units, -lot.cash) for lot in books.open_lots] == [(20, 200)]


@pytest.mark.parametrize(
    "lines",
    [
        [("KO", 100, 0, EntryKind.HELD)],
        [("KO 240621 C 70", -1, 0, EntryKind.LAPSE)],
        [("KO 240621 C 70", -1, 0, EntryKind.EXERCISE)],
        [("KO", 100, -7000, EntryKind.DELIVERY)],
        [("KO", 100, 0, EntryKind.RESCALE)],
    ],
)
def test_what_has_no_lot_is_refused(days, lines):
    for symbol, units, cash, kind in lines:
        days.line("2024-06-21", symbol, units, cash, kind)
    with pytest.raises(DataError):
        books_of(days)


@pytest.mark.rows(
    ("lines", "notes"),
    [
        # shares of 8 months, a put for two of them, sold after 14: the year begins when the put ends
        ([("2023-04-03", "KO", 100), ("2023-12-01", "KO 240315 P 60", 1),
          ("2024-02-01", "KO 240315 P 60", -1), ("2024-06-03", "KO", -100)], {"KO": "1233(b)?"}),
        # shares that are bought while the put is held
        ([("2023-04-03", "KO 240621 P 60", 1), ("2023-04-04", "KO", 100), ("2024-06-03", "KO", -100)],
         {"KO": "1092(a)? 1233(b)?"}),
        # shares of more than a year: the put's loss
        ([("2022-04-01", "KO", 100), ("2024-01-02", "KO 240621 P 60", 1),
          ("2024-03-01", "KO 240621 P 60", -1)],
         {"KO 06/21/2024 60 P": "1092(a)? 1233(d)?"}),
        # sold within the year: short-term either way; a call, a put of another share, a sold put
        ([("2024-01-02", "KO", 100), ("2024-01-03", "KO 240621 P 60", 1), ("2024-03-01", "KO", -100)],
         {"KO": "1092(a)?"}),
        ([("2023-01-03", "KO", 100), ("2023-02-01", "KO 240621 C 60", 1),
          ("2023-02-01", "PEP 240621 P 60", 1), ("2023-02-01", "KO 240621 P 60", -1),
          ("2024-06-03", "KO", -100)], {}),
    ],
)  # fmt: skip
def test_a_put_beside_shares_flags_the_lines_whose_term_it_may_change(days, lines, notes):
    for place, (day, symbol, units) in enumerate(lines):
        days.trade(day, symbol, units, 60 - place)
    books = books_of(days)
    rows = tax_year(books, (), 2024).form_8949
    found = {row["description"].removeprefix("100 ").removeprefix("1 "): row["note"] for row in rows}
    assert {what: note for what, note in found.items() if "?" in note} == notes
    told = [flag for year, flag in books.flags if year == 2024 and "1233" in flag]
    assert bool(notes) <= bool(told)


PERIOD, LOSS, DEFERRED = "1.1092(b)-2T(a)?", "1.1092(b)-2T(b)?", "1092(a)?"


@pytest.mark.rows(
    ("lines", "notes"),
    [
        # a deep call written beside shares of eight months: their year begins when it is bought back
        ([("2023-04-03", "KO", 100, 60), ("2023-12-01", "KO 240315 C 40", -1, 20),
          ("2024-02-01", "KO 240315 C 40", 1, 19), ("2024-06-03", "KO", -100, 61)], {"KO": PERIOD}),
        # the same, the shares called away
        ([("2023-04-03", "KO", 100, 60), ("2023-12-01", "KO 240920 C 40", -1, 20),
          ("2024-09-20", "KO 240920 C 40", 1, EntryKind.EXERCISE), ("2024-09-20", "KO", -100, 40)],
         {"KO": PERIOD}),
        # sold more than a year after the call ended: long-term either way
        ([("2022-04-01", "KO", 100, 60), ("2022-12-01", "KO 230317 C 40", -1, 20),
          ("2023-02-01", "KO 230317 C 40", 1, 19), ("2024-06-03", "KO", -100, 61)], {}),
        # two calls, one of them still held a month before
        ([("2022-04-01", "KO", 100, 60), ("2022-12-01", "KO 230317 C 40", -1, 20),
          ("2022-12-01", "KO 240517 C 40", -1, 20), ("2023-02-01", "KO 230317 C 40", 1, 19),
          ("2024-05-01", "KO 240517 C 40", 1, 19), ("2024-06-03", "KO", -100, 61)], {"KO": PERIOD}),
        # beside shares of more than a year they stay long-term, and the call's loss may be
        ([("2022-04-01", "KO", 100, 60), ("2023-12-01", "KO 240315 C 40", -1, 20),
          ("2024-02-01", "KO 240315 C 40", 1, 25), ("2024-06-03", "KO", -100, 61)],
         {"KO 03/15/2024 40 C": LOSS}),
        # a bought straddle: the put's loss while the call gains over the year's end
        ([("2024-11-01", "KO 250321 C 60", 1, 3), ("2024-11-01", "KO 250321 P 60", 1, 3),
          ("2024-12-20", "KO 250321 P 60", -1, 1)], {"KO 03/21/2025 60 P": DEFERRED}),
        ([("2024-11-01", "KO 250321 C 60", 1, 3), ("2024-11-01", "KO 250321 P 60", 1, 3),
          ("2024-12-20", "KO 250321 P 60", -1, 1), ("2024-12-23", "KO 250321 C 60", -1, 5)], {}),
        # a vertical, and shares sold short against a bought call
        ([("2024-11-01", "KO 250321 C 60", 1, 3), ("2024-11-01", "KO 250321 C 65", -1, 1),
          ("2024-12-20", "KO 250321 C 65", 1, 2)], {"KO 03/21/2025 65 C": DEFERRED}),
        ([("2024-11-01", "KO 250321 C 60", 1, 3), ("2024-11-01", "KO", -100, 60),
          ("2024-12-20", "KO", 100, 62)], {"KO": DEFERRED}),
        # a call and a sold put gain alike; another share offsets nothing; SPX is marked
        ([("2024-11-01", "KO 250321 C 60", 1, 3), ("2024-11-01", "KO 250321 P 60", -1, 3),
          ("2024-11-01", "PEP", -100, 60), ("2024-12-20", "KO 250321 C 60", -1, 1)], {}),
    ],
)  # fmt: skip
def test_the_structure_rules_stand_on_the_lines_that_they_may_change(days, lines, notes):
    for day, symbol, units, price in lines:
        if isinstance(price, EntryKind):
            days.line(day, symbol, units, 0, price)
        elif lines[-2][3] is EntryKind.EXERCISE and (day, symbol, units, price) == lines[-1]:
            days.line(day, symbol, units, -units * price, EntryKind.DELIVERY)
        else:
            days.trade(day, symbol, units, price)
    rows = tax_year(books_of(days), (), 2024).form_8949
    found = {row["description"].removeprefix("100 ").removeprefix("1 "): row["note"] for row in rows}
    marked = {what: " ".join(word for word in note.split() if "1092" in word) for what, note in found.items()}
    assert {what: note for what, note in marked.items() if note} == notes


def test_shares_of_an_exercised_call_that_replaced_a_loss_are_flagged(days):
    wash_by_call(days)
    days.entries.pop()
    days.line("2024-10-18", "INTC 241018 C 36", -1, 0, EntryKind.EXERCISE)
    days.line("2024-10-18", "INTC", 100, -3600, EntryKind.DELIVERY)
    days.trade("2025-06-02", "INTC", -100, 50)
    books = books_of(days)
    assert [row["note"] for row in tax_year(books, (), 2025).form_8949] == ["1223(3)?"]
    assert [year for year, flag in books.flags if "1223(3)" in flag] == [2024, 2025]


def test_what_later_days_decide_is_flagged(days):
    days.trade("2024-02-01", "CVX", 100, 80)
    days.trade("2024-12-20", "CVX", -50, 70)
    books = books_of(days)
    assert [year for year, _ in books.flags] == [
        2024,
        2024,
    ]  # an open window, and an open position beside a loss
    days.trade("2025-02-03", "CVX", -50, 90)
    assert [year for year, _ in books_of(days).flags] == [2024]  # the window has passed


def test_carried_lots_come_first(days):
    days.trade("2023-03-01", "KO", 10, 50, ref="carried")
    (lot,) = keep_books(days.entries, until=2023).open_lots
    days.entries.clear()
    days.line("2024-01-02", "KO", 10, 0, EntryKind.HELD)
    days.trade("2024-05-01", "KO", -10, 55)
    (sold,) = books_of(days, carried=[lot]).disposals
    assert (sold.gain, sold.is_long_term, sold.lot) == (50, True, "carried")
    assert lot.units == 10


def test_totals_of_nothing_are_zero():
    assert {row["gain"] for row in tax_year(keep_books((), until=2024), (), 2024).schedule_d} == {ZERO}
