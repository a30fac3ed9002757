"""Sixty portfolios by four rules, worked by hand: Regulation T, intraday margin, spreads, an account in coin.

Rules: 12 CFR 220.12 (initial: shares 50 %), FINRA 4210(f)(2) (E: 20 % or 15 % less what is out of the money,
10 % at least; H: straddles, spreads, conversions, collars), Regulatory Notice 12-44 (spreads of several legs:
largest loss at the strikes), 91 FR 20731 (intraday margin: the maintenance margin at any time), Deribit's
standard margin (15 % less what is out of the money, 10 % at least, and the mark; a spread is no offset). Rows
named ``published`` are examples of others: Cboe's Margin Manual as trading sites quote its figures (short put
of 200, spread of 125 and 120, straddle of 92.63), IBKR's knowledge base (iron condor 160 to 190).

Figures are US dollars for one share of each contract, so that a contract of 100 asks for a hundred times as
much; coins for one contract of one coin at the same prices.
"""

import re
from decimal import Decimal
from typing import NamedTuple

import pytest

from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.deribit import deribit_option
from scalpdesk.margin.coin import coin_requirement
from scalpdesk.margin.holdings import Filled, Holding
from scalpdesk.margin.pairing import Pairing
from scalpdesk.margin.regulation_t import UNCOVERED, RegulationT
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.tape import quote

D = Decimal
LEG = re.compile(r"([+-])(\d*)([CPS])(\d*)(b?)(?:@([\d.]+))?$")


class Row(NamedTuple):
    """A portfolio, and its margin by each rule."""

    name: str
    legs: str
    initial: float
    maintenance: float
    spread: float
    coin: float
    spot: float = 100
    root: str = "XYZ"


ROWS = [
    # bought options are paid, and ask for nothing more
    Row("long call", "+C100@5", 5, 0, 0, 0),
    Row("long put", "+P100@5", 5, 0, 0, 0),
    Row("long straddle", "+C100@5 +P100@4", 5 + 4, 0, 0, 0),
    Row("long strangle, three", "+3C110@2 +3P90@2", 3 * (2 + 2), 0, 0, 0),
    # one sold option: the premium and the greater of 20 % less what is out of the money, and 10 %
    Row("short call", "-C100@5", 5 + 20, 5 + 20, 0, 0.15 + 0.05),
    Row("short put", "-P100@5", 5 + 20, 5 + 20, 0, 0.15 + 0.05),
    Row("short call 5 out", "-C105@3", 3 + 15, 3 + 15, 0, 0.10 + 0.03),
    Row("short call 10 out", "-C110@2", 2 + 10, 2 + 10, 0, 0.10 + 0.02),
    Row("short call far out", "-C130@0.5", 0.5 + 10, 0.5 + 10, 0, 0.10 + 0.005),
    Row("short put 10 out", "-P90@2", 2 + 10, 2 + 10, 0, 0.10 + 0.02),
    Row("short put far out: 10 % of its strike", "-P80@1", 1 + 8, 1 + 8, 0, 0.10 + 0.01),
    Row("short call in the money", "-C90@13", 13 + 20, 13 + 20, 0, 0.15 + 0.13),
    Row("short put in the money", "-P110@12", 12 + 20, 12 + 20, 0, 0.15 + 0.12),
    Row("short call on a broad index", "-C4100@30", 30 + 500, 530, 0, 0.125 + 0.0075, 4_000, "SPXW"),
    Row("short put on a broad index", "-P3600@25", 25 + 360, 385, 0, 0.10 + 0.00625, 4_000, "SPXW"),
    Row("published: short put of 200", "-P200@1.20", 34, 34, 0, 0.15 - 9 / 209 + 1.2 / 209, 209),
    # a sold call beside a sold put: the greater side, and the other's premium
    Row("short straddle", "-C100@5 -P100@4", 25 + 4, 29, 0, 0.20 + 0.19),
    Row("short strangle", "-C105@3 -P90@2", 18 + 2, 20, 0, 0.13 + 0.12),
    Row("short strangle, equal sides", "-C110@2 -P90@2", 12 + 2, 14, 0, 0.12 + 0.12),
    Row("short guts", "-C90@13 -P110@12", 33 + 12, 45, 0, 0.28 + 0.27),
    Row("two calls, one put", "-2C100@5 -P100@4", 25 + 4 + 25, 54, 0, 2 * 0.20 + 0.19),
    Row("one call, two puts", "-C100@5 -2P90@2", 25 + 2 + 12, 39, 0, 0.20 + 2 * 0.12),
    Row(
        "published: straddle of 90 at 92.63",
        "-C90@7 -P90@3.70",
        29.226,
        29.226,
        0,
        0.15 + 7 / 92.63 + 0.15 - 2.63 / 92.63 + 3.7 / 92.63,
        92.63,
    ),
    # verticals: the bought option paid, and the width that may be lost, at most what the sold one needs alone
    Row("bull call spread", "+C100@5 -C110@2", 5, 0, 0, 0.12),
    Row("bear put spread", "+P100@4 -P90@1.5", 4, 0, 0, 0.10 + 0.015),
    Row("bear call spread", "-C100@5 +C110@2", 2 + 10, 10, 10, 0.20),
    Row("bull put spread", "-P100@4 +P90@1.5", 1.5 + 10, 10, 10, 0.19),
    Row("narrow call spread, four", "-4C100@5 +4C102@4", 4 * (4 + 2), 4 * 2, 4 * 2, 4 * 0.20),
    Row("wide call spread: no more than naked", "-C100@5 +C140@0.2", 0.2 + 25, 25, 25, 0.20),
    Row("wide put spread: no more than naked", "-P100@4 +P60@0.1", 0.1 + 24, 24, 24, 0.19),
    Row(
        "published: spread of 125 and 120",
        "-P125@1.24 +P120@0.80",
        0.8 + 5,
        5,
        5,
        0.15 - 5 / 130 + 1.24 / 130,
        130,
    ),
    # both sides: one of them loses
    Row("iron condor", "-C105@3 +C110@2 -P95@3 +P90@2", 2 + 2 + 5, 5, 5, 0.13 + 0.13),
    Row("iron condor, unequal wings", "-C105@3 +C115@1 -P95@3 +P90@2", 1 + 2 + 10, 10, 10, 0.13 + 0.13),
    Row(
        "published: iron condor of 160 to 190, ten",
        "-10C180@3 +10C190@1 -10P170@3 +10P160@1",
        10 * (1 + 1 + 10),
        100,
        100,
        10 * (0.15 - 5 / 175 + 3 / 175) * 2,
        175,
    ),
    Row("iron fly", "-C100@5 +C110@2 -P100@4 +P90@1.5", 2 + 1.5 + 10, 10, 10, 0.20 + 0.19),
    Row("bought iron fly", "+C100@5 -C110@2 +P100@4 -P90@1.5", 5 + 4, 0, 0, 0.12 + 0.115),
    Row("iron condor and a call", "-2C105@3 +C110@2 -P95@3 +P90@2", 2 + 2 + 5 + 18, 5 + 18, 5, 3 * 0.13),
    Row("short box", "-C95@8 +C105@3 -P105@7 +P95@2", 3 + 2 + 10, 10, 10, 0.23 + 0.22),
    Row("long box", "+C95@8 -C105@3 +P105@7 -P95@2", 8 + 7, 0, 0, 0.13 + 0.12),
    # three and four strikes of one right
    Row("long call butterfly", "+C90@12 -2C100@5 +C110@2", 12 + 2, 0, 0, 2 * 0.20),
    Row("short call butterfly", "-C90@12 +2C100@5 -C110@2", 2 * 5 + 10, 10, 10, 0.27 + 0.12),
    Row("long put butterfly", "+P90@2 -2P100@5 +P110@12", 2 + 12, 0, 0, 2 * 0.20),
    Row("broken wing", "+C95@8 -2C100@5 +C110@2", 8 + 2 + 5, 5, 5, 2 * 0.20),
    Row("long call condor", "+C90@12 -C95@8 -C105@3 +C110@2", 12 + 2, 0, 0, 0.23 + 0.13),
    Row("short call condor", "-C90@12 +C95@8 +C105@3 -C110@2", 8 + 3 + 5, 5, 5, 0.27 + 0.12),
    Row("back ratio of calls", "-C100@5 +2C105@3", 2 * 3 + 5, 5, 5, 0.20),
    Row("ratio of calls", "+C100@5 -2C110@2", 5 + 12, 12, 0, 2 * 0.12),
    Row("ratio of puts", "+P100@4 -2P90@1.5", 4 + 11.5, 11.5, 0, 2 * 0.115),
    # several expiries: a bought option that ends earlier covers nothing
    Row("calendar", "-C100@3 +C100b@5", 5, 0, 0, 0.18),
    Row("sold calendar", "+C100@3 -C100b@5", 3 + 25, 25, 0, 0.20),
    Row("diagonal", "-C100@3 +C105b@4", 4 + 5, 5, 5, 0.18),
    Row("double calendar", "-C105@1 +C105b@3 -P95@1 +P95b@3", 3 + 3, 0, 0, 0.11 + 0.11),
    Row(
        "spreads of two expiries",
        "-C105@3 +C110@2 -P95b@4 +P90b@3",
        2 + 3 + 10,
        10,
        10,
        0.13 + 0.14,
    ),
    # with shares
    Row("covered call", "+S1 -C110@2", 50, 25, 0, 0.12),
    Row("two calls on 100 shares", "+S1 -2C110@2", 50 + 12, 25 + 12, 0, 2 * 0.12),
    Row("covered put", "-S1 -P90@2", 50, 30, 0, 0.12),
    Row("protective put", "+S1 +P95@2", 50 + 2, 9.5 + 5, 0, 0),
    Row("collar", "+S1 +P95@2 -C105@3", 50 + 2, 9.5 + 5, 0, 0.13),
    Row("conversion", "+S1 +P100@1 -C100@11", 55 + 1, 10, 0, 0.15 + 0.1, 110),
    Row("reverse conversion", "-S1 -P100@4 +C100@5", 50 + 5, 10, 0, 0.19),
]


def lines(row):
    """Return a row's holdings in dollars: contracts of 100, and hundreds of shares."""
    for leg in row.legs.split():
        sign, count, kind, strike, is_far, price = LEG.match(leg).groups()
        units = D(sign + (count or "1"))
        if kind == "S":
            yield Holding(Equity("XYZ"), 100 * units, D(str(row.spot)))
            continue
        symbol = f"{row.root}{'270115' if is_far else '261218'}{kind}{int(D(strike) * 1000):08d}"
        yield Holding(us_option(symbol, [row.root]), units, D(price))


def coin_lines(row):
    """Return its options on a coin: contracts of one coin, prices in coin."""
    for leg in row.legs.split():
        sign, count, kind, strike, is_far, price = LEG.match(leg).groups()
        if kind != "S":
            option = deribit_option(f"BTC-{'29JAN27' if is_far else '25DEC26'}-{strike}-{kind}")
            yield Holding(option, D(sign + (count or "1")), D(price) / D(str(row.spot)))


def cents(amount):
    return round(D(amount), 2)


def test_the_table_has_sixty_portfolios():
    assert len(ROWS) == 60
    assert len({row.name for row in ROWS}) == 60


@pytest.mark.rows("row", ROWS)
def test_regulation_t(row):
    pairs = Pairing(lines(row), D(str(row.spot)))
    assert cents(pairs.initial) == cents(str(round(100 * row.initial, 6)))
    assert cents(pairs.maintenance) == cents(str(round(100 * row.maintenance, 6)))
    backwards = Pairing(reversed(list(lines(row))), D(str(row.spot)))
    assert (backwards.initial, backwards.maintenance) == (pairs.initial, pairs.maintenance)


@pytest.mark.rows("row", ROWS)
def test_spreads_alone(row):
    """The margin that sold options need beside their cover, without naked sides and shares."""
    spot, held = D(str(row.spot)), list(lines(row))
    options = [each for each in held if each.is_option]
    if len(options) < len(held):
        assert row.spread == 0  # the shares cover
        return
    pairs = Pairing(options, spot, is_secured=True)
    left = {contract: -quantity for contract, quantity in pairs.uncovered}
    sold = [each for each in options if each.instrument in left and each.quantity < 0]
    naked = Pairing([Holding(each.instrument, left[each.instrument], each.price) for each in sold], spot)
    assert cents(pairs.maintenance - naked.maintenance) == cents(str(100 * row.spread))


@pytest.mark.rows("row", ROWS)
def test_intraday_margin(row):
    """Own funds of a million above the maintenance margin, once the portfolio is bought."""
    held = list(lines(row))
    book = Instruments([Equity("XYZ" if row.root == "XYZ" else "SPX")])
    connection = connect(book, cash=1_000_000, options_level=UNCOVERED)
    connection.on_quote(quote(0, 1, row.spot, row.spot))
    figures = RegulationT().figures(Filled(connection.account, held))
    spot, withheld = D(str(row.spot)), Pairing(held, D(str(row.spot))).withheld
    shares = sum((each.quantity for each in held if not each.is_option), D(0))
    cash = 1_000_000 - sum(each.value for each in held)
    level = cash + shares * spot - 100 * D(str(round(row.maintenance, 6))) - withheld
    assert cents(figures.excess) == cents(level)


@pytest.mark.rows("row", ROWS)
def test_an_account_in_coin(row):
    asked = coin_requirement(coin_lines(row), lambda _symbol: D(str(row.spot)))
    assert float(asked.initial) == pytest.approx(row.coin, abs=5e-9)


# laws -----------------------------------------------------------------------------------------------
