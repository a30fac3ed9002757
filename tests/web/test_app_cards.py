"""The package of docs/developing/add_a_card.md, built from the page: the dashboard answers its card."""

import sys
from decimal import Decimal

import pytest

from scalpdesk.monitor.texts import plain
from tests.docs.pages import DOCS, install_page


@pytest.fixture
def package(tmp_path, monkeypatch):
    install_page(DOCS / "developing" / "add_a_card.md", tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield tmp_path / "site/turnover_card/card.py"
    for module in [name for name in sys.modules if name.partition(".")[0] == "turnover_card"]:
        del sys.modules[module]


@pytest.mark.usefixtures("package")
def test_a_card_in_one_file_is_answered_with_its_rows(client_of, held_feed, held):
    (card,) = client_of(held_feed).get("/api/cards").json()["cards"]
    assert (card["name"], card["title"], card["problem"]) == ("turnover", "Turnover, USD", None)
    kinds = {True: Decimal(), False: Decimal()}
    for (name, _), (_, quantity, price, _) in held.fills.items():
        contract = held.desk.instruments[held.desk.orders.orders[name].submitted.instrument_id]
        kinds[contract.is_option] += quantity * price * (100 if contract.is_option else 1)
    assert [(row["label"], row["text"]) for row in card["rows"]] == [
        ("Hedges", plain(kinds[False])),
        ("Options", plain(kinds[True])),
        ("Fills", str(len(held.fills))),
    ]


def test_a_card_that_fails_says_why(client_of, held_feed, package):
    package.write_text(package.read_text().replace("desk = follower.desk", "desk = 1 / 0"))
    (card,) = client_of(held_feed).get("/api/cards").json()["cards"]
    assert (card["rows"], card["problem"]) == ([], "ZeroDivisionError: division by zero")


def test_without_packages_there_is_no_card(client_of, held_feed):
    assert client_of(held_feed).get("/api/cards").json() == {"cards": []}
