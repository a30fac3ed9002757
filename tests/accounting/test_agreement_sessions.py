"""A session over each venue's protocol: the exchange's statement agrees with the journal to the cent.

Each difference that is planted into the statement is found, and nothing else.
"""

import json
from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.cli.main import main
from scalpdesk_testing.kit.live_session import COIN_CASH, Wanted, play

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"])]
D = Decimal
EARLY = ("entry.gate=advise", "rates.flat=0.0", "venue.forecast=false", "entry.not_before=09:31",
         "hedge.threshold_shares=2.0")  # fmt: skip
COIN = Wanted(
    day=date(2025, 3, 5),
    venue="deribit",
    data="embedded-btc",
    cash=COIN_CASH,
    streams=2,
    underlyings=("BTC-PERPETUAL",),
    config=Path(__file__).parents[2] / "examples/btc-gamma-scalper/params.yaml",
    minutes=63.0,
    lockstep_ms=20.0,
    overrides=(
        "entry.gate=off", "hedge.threshold_shares=0.02", "entry.not_before=03:01", "venue.forecast=false",
        "venue.requests_per_minute=1000000", "venue.reconcile_seconds=0.5", "venue.confirm_seconds=0.1",
    ),
)  # fmt: skip
SESSIONS = {
    "alpaca": Wanted(minutes=8.0, contracts=12, overrides=EARLY),
    "ibkr": Wanted(minutes=8.0, venue="ibkr", streams=1, speed=60, overrides=EARLY),
    "deribit": COIN,
}


@pytest.fixture(scope="module", params=SESSIONS)
def played(request, tmp_path_factory):
    wanted = replace(SESSIONS[request.param], busts_last=True)
    return play(tmp_path_factory.mktemp(request.param), wanted)


@pytest.fixture
def reconciled(played, tmp_path, capsys):
    def ask(statement):
        (tmp_path / "statement").write_bytes(statement)
        words = ["--broker", played.wanted.venue, "--run", str(played.run_dir), "--json"]
        code = main(["reconcile", str(tmp_path / "statement"), *words])
        return code, json.loads(capsys.readouterr().out)

    return ask


def found(document):
    return Counter(
        (line["kind"], line["verdict"]) for line in document["lines"] if line["verdict"] != "agrees"
    )


def pages(statement):
    return [json.loads(page) for page in statement.splitlines()]


def raw(documents):
    return "\n".join(json.dumps(page) for page in documents).encode()


def test_the_exchanges_statement_agrees_with_the_journal_to_the_cent(played, reconciled):
    code, document = reconciled(played.statement)
    assert (code, found(document), document["unread"]) == (0, Counter(), [])
    trades = [line for line in document["lines"] if line["kind"] == "trade"]
    assert len(trades) == len(played.truth_fills()) >= 5
    ends = {line["kind"] for line in document["lines"]} & {"position", "cash"}
    assert (
        ends == {"alpaca": set(), "deribit": {"position"}, "ibkr": {"position", "cash"}}[played.wanted.venue]
    )
    assert document["account"] == played.header.data["account_id"]
    (total,) = document["totals"].values()
    least = D("1e-8") if played.wanted.venue == "deribit" else D(0)
    # what the lines sum to is what the exchange's own cash has moved by
    assert abs(D(total["broker"]) - (played.truth_cash() - played.wanted.cash)) <= least
    assert total["closes"]


def test_pages_that_overlap_change_nothing(played, reconciled):
    whole = played.statement
    if played.wanted.venue == "ibkr":
        start = whole.index(b"<Trade ")
        row = whole[start : whole.index(b"/>", start) + 2]
        whole = whole.replace(row, row + row)
    else:
        whole += b"\n" + whole
    code, document = reconciled(whole)
    assert (code, found(document)) == (0, Counter())
    assert document["notes"]


def test_a_fill_that_the_statement_lacks_is_found(played, reconciled):
    if played.wanted.venue == "ibkr":
        start = played.statement.rindex(b"<Trade ")
        end = played.statement.index(b"/>", start) + 2
        less = played.statement[:start] + played.statement[end:]
    else:
        documents = pages(played.statement)
        rows = documents[0] if played.wanted.venue == "alpaca" else documents[0]["result"]["logs"]
        rows.remove([row for row in rows if "FILL" in row.values() or "trade" in row.values()][1])
        less = raw(documents)
    code, document = reconciled(less)
    assert (code, found(document)) == (1, {("trade", "only in the journal"): 1})


def test_a_fee_off_by_the_smallest_coin_is_found(played, reconciled):
    if played.wanted.venue == "ibkr":
        changed, step, kind = (
            played.statement.replace(b'ibCommission="-1.09"', b'ibCommission="-1.10"', 1),
            2,
            "trade",
        )
    else:
        documents, step, kind = pages(played.statement), 8, "trade"
        if played.wanted.venue == "alpaca":
            charge = next(row for row in documents[0] if row["activity_type"] == "FEE")
            charge["net_amount"], step, kind = str(D(charge["net_amount"]) - D("0.01")), 2, "fees"
        else:
            row = next(row for row in documents[0]["result"]["logs"] if row["type"] == "trade")
            row["commission"] = float(D(str(row["commission"])) + D("0.00000001"))
        changed = raw(documents)
    assert changed != played.statement
    code, document = reconciled(changed)
    assert (code, found(document)) == (1, {(kind, "differs"): 1})
    (line,) = [line for line in document["lines"] if line["verdict"] == "differs"]
    assert D(line["differences"]["fee"]) == D(1).scaleb(-step)
    (total,) = document["totals"].values()
    assert (D(total["difference"]), total["closes"]) == (-D(1).scaleb(-step), True)


def test_a_trade_that_the_exchange_took_back_after_the_desk_had_gone_is_found(played, reconciled):
    code, document = reconciled(played.after_bust)
    assert code == 1
    assert found(document)["trade", "only in the journal"] == 1
    gone = next(line for line in document["lines"] if line["verdict"] == "only in the journal")
    last_ns = max(each[-1] for each in played.desk_fills())
    assert any(each[0] in gone["journal"] for each in played.desk_fills() if each[-1] == last_ns)
    (total,) = document["totals"].values()
    assert D(total["difference"])
    assert total["closes"]
    ends = {"alpaca": {("fees", "differs")}, "deribit": {("position", "differs")},
            "ibkr": {("position", "differs"), ("cash", "differs")}}  # fmt: skip
    assert set(found(document)) - {("trade", "only in the journal")} == ends[played.wanted.venue]
