"""A trial tells how a folder has to be shown the book: in each form it is tried on a small desk."""

import json

import pytest

from scalpdesk import backtest, load_data
from scalpdesk.cli.main import main
from scalpdesk.core.intents import AskFolder, Decision
from scalpdesk.journal.reader import JournalReader
from scalpdesk_strategies.external.strategy import SAFEST
from scalpdesk_strategies.isolation.folder import FolderInProcess
from scalpdesk_strategies.isolation.trial import needs_of
from scalpdesk_testing.kit.folders import event, folder, lines

SAMPLE = (
    event(
        "trial_1", symbol="SPY251230C00500000", delta=0.65, price=2.5, multiplier=100, underlying_price=500.0
    ),
    event("trial_2", symbol="SPY", price=500.0, underlying_price=500.0, bid=499.99, ask=500.01),
)

ORDER = """
from datetime import datetime
def order(event, symbol, signed):
    return {"protocol": "v1", "type": "order_intent", "intent_id": "h_" + event["event_id"],
            "event_id": event["event_id"], "ts": event["ts"], "symbol": symbol,
            "side": "buy" if signed > 0 else "sell", "qty": abs(signed), "order_type": "market"}
held, own = {}, [0]
"""

ORDER_OF = "return order("

SUMS = """
    payload = event["payload"]
    if "delta" in payload:
        held[event["symbol"]] = payload["delta"] * payload["quantity"]
    if payload.get("picture_index") != payload.get("picture_size"):
        return None
    signed = -round(sum(held.values()))
    if abs(signed) < 3:
        return None
    return order(event, "SPY", signed)
"""
"""Sums delta times quantity over all that it is shown: it needs its shares as a position."""

COUNTS = """
    payload = event["payload"]
    if event["symbol"] == "SPY" and "multiplier" not in payload:
        signed = -round(sum(held.values())) - own[0]
        if abs(signed) < 3:
            return None
        own[0] += signed
        return order(event, "SPY", signed)
    held[event["symbol"]] = payload["delta"] * payload["quantity"] * payload["multiplier"]
    return None
"""
"""Keeps a count of its own orders, and knows the multiplier."""

COUNTS_ALL = """
    payload = event["payload"]
    if "delta" in payload:
        held[event["symbol"]] = payload["delta"] * payload["quantity"]
    if payload.get("picture_index") != payload.get("picture_size"):
        return None
    signed = -round(sum(held.values())) - own[0]
    if abs(signed) < 3:
        return None
    own[0] += signed
    return order(event, "SPY", signed)
"""
"""Keeps a count of its own, and would count shares that are shown as a position twice."""


ACTS_AT_ONCE = """
    payload = event["payload"]
    if "delta" in payload:
        held[event["symbol"]] = payload["delta"] * payload["quantity"]
    signed = -round(sum(held.values()))
    at = datetime.fromisoformat(event["ts"].replace("Z", "+00:00"))
    if abs(signed) < 3 or (own[0] and (at - own[0]).total_seconds() < 60):
        return None
    own[0] = at
    return order(event, "SPY", signed)
"""
"""The document's: it acts on half a picture, at most once a minute."""


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (ACTS_AT_ONCE, (True, True)),
        (SUMS, (True, True)),
        (COUNTS, (False, True)),
        (COUNTS_ALL, (True, False)),
        ("return None", (False, True)),
        ('return None if event["payload"].get("delta") else None', (True, True)),
        ('return event["payload"].get("position_shares") and None', (False, False)),
        ("raise ValueError", (False, True)),
    ],
)
def test_the_form_is_that_in_which_its_hedge_holds_and_else_what_its_code_names(tmp_path, body, form):
    made = folder(tmp_path, body, before=ORDER)
    needs = needs_of(lambda: FolderInProcess(made), made, SAMPLE, SAFEST)
    assert (needs.counts_shares, needs.shares_as_position) == form
    assert needs.why.startswith("tried") == (ORDER_OF in body)


def test_what_is_set_is_not_tried(tmp_path):
    made = folder(tmp_path, SUMS, before=ORDER)
    needs = needs_of(lambda: FolderInProcess(made), made, SAMPLE, [(False, False), (False, True)])
    assert not needs.counts_shares


@pytest.mark.slow
@pytest.mark.parametrize("body", [SUMS, COUNTS, COUNTS_ALL])
def test_a_folder_hedges_alike_on_a_desk_and_in_the_harness(tmp_path, body, capsys):
    made = folder(tmp_path, body, before=ORDER)
    chosen = {
        "folder": str(made),
        "simulation.positions": {"SPY180205C00273000": 10, "SPY180205P00273000": 10},
        "heartbeat_seconds": 60.0,
        "price_change_usd": 0.5,
    }
    backtest("external", load_data(start="2018-02-05"), settings=chosen, runs_dir=tmp_path / "runs")
    (run_dir,) = (tmp_path / "runs").glob("*-external-*")
    outputs = [one for _, found in JournalReader(run_dir).steps() for one in found]
    asks = [one for one in outputs if type(one) is AskFolder and not one.asks_needs]
    events = [json.loads(text) for ask in asks for text in ask.events]
    file = lines(tmp_path / "events.ndjson", events)
    assert main(["harness", "--strategy", str(made), "--events", str(file)]) == 0
    intents = json.loads(capsys.readouterr().out)
    decided = [one for one in outputs if type(one) is Decision and "intent_id" in one.facts]
    named = dict.fromkeys(one.facts["intent_id"] for one in decided)  # an order through zero is two
    assert list(named) == [one["intent_id"] for one in intents]
    assert sum(one.kind == "hedge" for one in decided) > 20
