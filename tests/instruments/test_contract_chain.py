from datetime import date
from decimal import Decimal

from fakes.instruments import EXPIRY, option, share, straddle_book
from scalpdesk.instruments.contract import Instruments, StraddlePair, options_in_order, straddle_pairs


def test_options_come_by_expiry_strike_and_right():
    late = date(2024, 5, 17)
    book = Instruments(
        [share(), option("P", 500), option("C", 490, late), option("C", 500), option("P", 490)]
    )
    assert [number for number, _ in options_in_order(book, "SPY")] == [4, 3, 1, 2]


def test_calls_pair_with_puts_of_equal_strike_and_expiry():
    book = straddle_book(500, 490)
    assert straddle_pairs(options_in_order(book, "SPY")) == [
        StraddlePair(EXPIRY, Decimal(490), 3, 4),
        StraddlePair(EXPIRY, Decimal(500), 1, 2),
    ]


def test_what_has_no_partner_or_another_root_is_left_out():
    book = Instruments(
        [
            share("SPX"),
            option("C", 5000, root="SPX"),
            option("P", 5000, root="SPXW"),
            option("C", 5100, root="SPXW"),
            option("P", 5100, root="SPXW"),
        ]
    )
    assert straddle_pairs(options_in_order(book, "SPX")) == [StraddlePair(EXPIRY, Decimal(5100), 3, 4)]
