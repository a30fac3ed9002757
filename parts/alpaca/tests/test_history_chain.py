"""Chains and contracts from a local server that answers with the vendor's own samples."""

import json
import math
import threading
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("alpaca", reason="the extra alpaca")

from scalpdesk.config.schema import Secret as Key
from scalpdesk.core.errors import DataError, RetryError
from scalpdesk_alpaca.history import AlpacaHistory

FORMS = Path(__file__).with_name("vendor_forms.json")
SYMBOL = "SPY261218C00600000"
SAMPLES = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "alpaca_samples"


@contextmanager
def answering(answer):
    """Serve ``answer(path, query)``, a pair of status and document."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            status, document = answer(parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()})
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def client(url, **more):
    return AlpacaHistory(Key("k"), Key("s"), base_url=url, **more)


def test_snapshots_in_the_vendors_form_are_read_page_by_page(socket_enabled):
    files = [path for path in (FORMS, SAMPLES / "option_snapshots.json") if path.is_file()]
    samples = [sample for path in files for sample in json.loads(path.read_text())]
    bodies = [sample["body"] for sample in samples if sample["kind"] == "option_snapshots"]
    asked = []

    def answer(path, query):
        asked.append((path, query.get("page_token")))
        page = int(query.get("page_token", "0"))
        token = str(page + 1) if page + 1 < len(bodies) else None
        return 200, {"snapshots": bodies[page]["snapshots"], "next_page_token": token}

    with answering(answer) as url:
        lines = client(url).chain("AAPL")
    rows = {symbol: row for body in bodies for symbol, row in body["snapshots"].items()}
    wanted = {symbol: row for symbol, row in rows.items() if "latestQuote" in row}
    assert [token for _, token in asked] == [None, *map(str, range(1, len(bodies)))]
    assert {path for path, _ in asked} == {"/v1beta1/options/snapshots/AAPL"}
    assert {line.contract.symbol for line in lines} == set(wanted)
    for line in lines:
        row = wanted[line.contract.symbol]
        quote, greeks = row["latestQuote"], row.get("greeks", {})
        assert (line.bid, line.ask, line.ask_size) == (
            quote["bp"],
            quote["ap"],
            quote["as"],
        )
        values = (line.implied_volatility, line.delta, line.theta, line.vega)
        expected = (row.get("impliedVolatility"), *(greeks.get(name) for name in ("delta", "theta", "vega")))
        assert values == pytest.approx([math.nan if each is None else each for each in expected], nan_ok=True)


@pytest.mark.rows(
    "row",
    [
        {"latestQuote": {"t": "soon", "bp": 1.0, "ap": 1.1}},
        {"latestQuote": {"t": "2026-11-20T14:30:00Z", "bp": -1.0, "ap": 1.1}},
        {"latestQuote": 5},
    ],
)
@pytest.mark.rows("asks", [lambda one: one.chain("SPY"), lambda one: one.latest_quote(SYMBOL)])
def test_a_quote_that_cannot_be_believed_is_refused(socket_enabled, row, asks):
    document = {"snapshots": {SYMBOL: row}, "quotes": {SYMBOL: row["latestQuote"]}}
    with answering(lambda _path, _query: (200, document)) as url, pytest.raises(DataError) as refusal:
        asks(client(url))
    assert refusal.value.where == SYMBOL


def contract(symbol, expiry, strike):
    return {
        "symbol": symbol,
        "expiration_date": expiry,
        "strike_price": strike,
        "underlying_symbol": "SPY",
        "size": "100",
        "status": "active",
        "tradable": True,
    }


def test_the_trading_host_that_knows_the_keys_lists_contracts_of_both_states(socket_enabled):
    listed = {
        "active": contract("SPY261218C00600000", "2026-12-18", "600"),
        "inactive": contract("SPY261117P00590000", "2026-11-17", "590"),
    }

    def answer(path, query):
        if path.startswith("/live/"):
            return 401, {"code": 40110000, "message": "request is not authorized"}
        return 200, {"option_contracts": [listed[query["status"]]], "next_page_token": None}

    span = (date(2026, 11, 16), date(2026, 12, 31))
    with answering(answer) as url:
        found = client(url, trading_urls=(f"{url}/live", f"{url}/paper")).contracts("SPY", *span)
        with pytest.raises(RetryError) as refusal:
            client(url, trading_urls=(f"{url}/live",)).contracts("SPY", *span)
    assert [(each.symbol, each.expiry) for each in found] == [
        ("SPY261117P00590000", date(2026, 11, 17)),
        ("SPY261218C00600000", date(2026, 12, 18)),
    ]
    assert refusal.value.value == "HTTP 401"
