from datetime import date

from scalpdesk.instruments.contract import Instruments, options_in_order
from scalpdesk_testing.kit.instruments import option, share


def test_options_come_by_expiry_strike_and_right():
    late = date(2024, 5, 17)
    book = Instruments(
        [share(), option("P", 500), option("C", 490, late), option("C", 500), option("P", 490)]
    )
    assert [number for number, _ in options_in_order(book, "SPY")] == [4, 3, 1, 2]
