"""Two strategies on one account at ``scalpdesk exchange``: one set of books there, one for each here."""

from decimal import Decimal

import pytest

from scalpdesk.assembly import engine_from_header
from scalpdesk.engine.desk import by_strategy
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.recovery import rebuild
from scalpdesk_testing.kit.desk import orders
from scalpdesk_testing.kit.live_session import Wanted, ledger_differences, play

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.second]
ST0CKA, SCALPER = "st0cka", "gamma-scalper"


@pytest.fixture(scope="module")
def morning(tmp_path_factory):
    """Twelve minutes of 5 February 2018."""
    wanted = Wanted(
        strategy=f"{ST0CKA}+{SCALPER}",
        overrides=(
            "gamma-scalper.entry.gate=advise",
            "rates.flat=0.0",
            "st0cka.volatility=0.12",
            "budgets.fractions.st0cka=0.1",
        ),
        minutes=12.0,
    )
    return play(tmp_path_factory.mktemp("several"), wanted)


def test_both_trade_and_their_orders_say_whose_they_are(morning):
    owners = [one.owner for one in orders(morning.outputs)]
    assert set(owners) == {ST0CKA, SCALPER}
    assert owners.count(ST0CKA) >= 5
    assert owners.count(SCALPER) >= 3


def test_the_desk_and_the_exchange_agree_on_the_account(morning):
    assert ledger_differences(morning) == []


def test_the_rows_sum_to_the_account(morning):
    rows = morning.summary["strategies"]
    assert rows == by_strategy(morning.engine.desk)
    total = sum(Decimal(row["pnl"]["total"]) for row in rows.values())
    assert total == Decimal(morning.summary["nav_change"])
    books = morning.engine.desk.books.books.values()
    assert sum(book.account.cash for book in books) == morning.truth_cash()


def test_a_recovery_rebuilds_the_same_rows(morning):
    reader = JournalReader(morning.run_dir)
    engine = engine_from_header(reader.header)
    rebuild(reader, engine)
    assert by_strategy(engine.desk) == morning.summary["strategies"]
