"""Account activities as Alpaca writes them, and what the desk makes of each."""

import json
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest

from scalpdesk_alpaca import account_messages as wire
from scalpdesk_alpaca.fields import Malformed
from scalpdesk_testing.kit import alpaca_wire as samples

D = Decimal
FILL = {
    "activity_type": "FILL",
    "id": "20261120143000123::e1",
    "order_id": samples.ORDER_ID,
    "symbol": samples.STOCK,
    "side": "sell_short",
    "qty": "4",
    "cum_qty": "9",
    "leaves_qty": "1",
    "price": "185.14",
    "transaction_time": samples.AT_TEXT,
    "type": "partial_fill",
}
ASSIGNED = {
    "id": "20240304000000000::a1",
    "activity_type": "OPASN",
    "date": "2024-03-04",
    "net_amount": "0",
    "description": "Option Assignment",
    "symbol": samples.OPTION,
    "qty": "2",
    "status": "executed",
}
DELIVERED = {
    **ASSIGNED,
    "id": "20240304000000000::a2",
    "activity_type": "OPTRD",
    "net_amount": "100000",
    "symbol": samples.STOCK,
    "qty": "-200",
    "price": "500",
}
DIVIDEND = {
    **ASSIGNED,
    "id": "20240305000000000::a3",
    "activity_type": "DIV",
    "net_amount": "-24.5",
    "symbol": samples.STOCK,
    "qty": "-100",
    "per_share_amount": "0.245",
    "created_at": samples.AT_TEXT,
}


def as_json(value):
    return json.dumps(value).encode()


@pytest.mark.rows("change", [{"qty": "NaN"}, {"side": "?"}, {"price": "x"}, {"order_id": ""}])
def test_an_execution_that_cannot_be_believed_spoils_the_page(change):
    with pytest.raises(Malformed):
        wire.read_fills(as_json([FILL, {**FILL, **change}]))


def test_an_assignment_and_its_delivery_under_one_id_are_two_activities():
    found, _ = wire.read_activities(as_json([ASSIGNED, {**DELIVERED, "id": ASSIGNED["id"]}]))
    assert [one.quantity_change for one in found] == [D(2), D(-200)]
    assert len({one.activity_id for one in found}) == 2


def test_the_same_activity_has_the_same_id_again():
    (first,), _ = wire.read_activities(as_json([ASSIGNED]))
    (again,), _ = wire.read_activities(as_json([{**ASSIGNED, "created_at": samples.AT_TEXT}]))
    assert first.activity_id == again.activity_id


@pytest.mark.rows("status", ["pending", "queued", "rejected", "canceled"])
def test_an_activity_that_has_not_happened_is_passed_over(status):
    assert wire.read_activities(as_json([{**DIVIDEND, "status": status}])) == ([], None)


def test_a_kind_that_is_not_known_may_look_as_it_likes():
    page = [{"id": "a", "activity_type": "XYZ", "date": None, "qty": None}, FILL, ASSIGNED]
    (one,), _ = wire.read_activities(as_json(page))
    assert one.kind == "OPASN"
    (moved,), _ = wire.read_activities(as_json([{**ASSIGNED, "net_amount": None, "date": "2024-03-04"}]))
    assert (moved.cash_change, moved.quantity_change) == (0, 2)


def test_a_page_of_executions_names_where_the_next_one_begins():
    page = [{**FILL, "id": f"20261120143000123::e{n}"} for n in range(wire.ACTIVITIES_PER_PAGE)]
    fills, token = wire.read_fills(as_json(page))
    assert token == "20261120143000123::e99"
    assert [fill.execution_id for fill in fills[:2]] == ["e0", "e1"]
    assert wire.read_fills(as_json(page[:-1]))[1] is None


@pytest.mark.rows(
    ("kind", "written", "moved"),
    [("OPASN", "-2", 2), ("OPASN", "2", 2), ("OPEXC", "2", -2), ("OPEXP", "-2", -2)],
)
def test_what_closes_a_contract_closes_it_whatever_the_sign_it_is_written_with(kind, written, moved):
    (one,), _ = wire.read_activities(as_json([{**ASSIGNED, "activity_type": kind, "qty": written}]))
    assert one.quantity_change == moved


@pytest.mark.rows(
    "change",
    [
        {"date": "2024-13-01"},
        {"date": None},
        {"net_amount": "x"},
        {"id": ""},
        {"qty": "NaN"},
        {"created_at": "now"},
    ],
)
def test_an_activity_that_cannot_be_believed_spoils_the_page(change):
    with pytest.raises(Malformed):
        wire.read_activities(as_json([DIVIDEND, {**ASSIGNED, **change}]))


def test_a_full_page_has_another_one_behind_it_and_the_request_names_where_it_begins():
    page = [{**DIVIDEND, "id": f"a{number}"} for number in range(wire.ACTIVITIES_PER_PAGE)]
    _, token = wire.read_activities(as_json(page))
    assert token == "a99"
    query = parse_qs(urlsplit(wire.activities_request("2024-03-01T00:00:00Z", token).path).query)
    assert query["page_token"] == ["a99"]
    assert query["direction"] == ["asc"]
    assert "FILL" not in query["activity_types"][0].split(",")
    assert {"OPASN", "OPEXC", "OPTRD", "DIV", "FEE", "INT", "CSD"} <= set(
        query["activity_types"][0].split(",")
    )
