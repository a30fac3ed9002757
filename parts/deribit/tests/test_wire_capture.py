"""A recorded capture of the venue: every frame is read, and its volatilities and Greeks stand beside ours."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.base import DataError, InstrumentId, OptionContract, deribit_option, expiry_instant_ns
from scalpdesk.cli.main import main
from scalpdesk.instruments.contract import LinearPerpetual, Perpetual
from scalpdesk.pricing.scalar import coin_greeks, implied_vol_scalar
from scalpdesk_deribit.history import read_capture
from scalpdesk_deribit.wire import Notification, RpcReply, decode_frame, read_instrument, read_quote

FOLDER = Path(__file__).parent / "../../../../shared/data/deribit_wire"
pytestmark = [
    pytest.mark.recorded,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the recorded market data is not beside the project"),
]


def lines(name):
    return gzip.decompress((FOLDER / name).read_bytes()).decode().splitlines()


@pytest.fixture(scope="module")
def frames():
    """Frames that the venue sent, without the client's own."""
    found = []
    for line in lines("DERIBIT.ws.1.0.gz"):
        head, _, body = line.partition(": ")
        if body and "<-" not in head:
            found.append(decode_frame(body))
    return found


@pytest.fixture(scope="module")
def tickers(frames):
    return [
        note.data for note in frames if isinstance(note, Notification) and note.channel.startswith("ticker.")
    ]


def test_every_frame_of_the_capture_is_read(frames):
    kinds = Counter(
        note.channel.partition(".")[0] if isinstance(note, Notification) else type(note).__name__
        for note in frames
    )
    assert kinds == {"ticker": 89, "book": 46, "RpcReply": 1}
    (reply,) = [each for each in frames if isinstance(each, RpcReply)]
    assert len(reply.result) == 30


def test_every_listed_instrument_is_read_or_left_out_by_its_kind():
    counts = Counter()
    for line in lines("DERIBIT.0.gz"):
        _, _, body = line.partition(": ")
        if "get_instruments" not in line:
            continue
        for message in json.loads(body)["result"]:
            instrument = read_instrument(message)
            counts[type(instrument).__name__, message["kind"]] += 1
            if isinstance(instrument, OptionContract):
                assert instrument.symbol == message["instrument_name"]
                assert float(instrument.strike) == message["strike"]
                assert instrument.is_call == (message["option_type"] == "call")
                assert expiry_instant_ns(instrument) == message["expiration_timestamp"] * 1_000_000
                assert instrument.currency == message["base_currency"]
            elif isinstance(instrument, Perpetual):
                assert instrument.contract_usd == message["contract_size"]
            elif isinstance(instrument, LinearPerpetual):
                assert instrument.currency == "USDC"
    assert counts["OptionContract", "option"] == 980
    assert counts["Perpetual", "future"] >= 2
    assert counts["NoneType", "option"] == 0


def test_quotes_have_the_sides_that_the_tickers_have(tickers):
    missing = 0
    for ticker in tickers:
        option = deribit_option(ticker["instrument_name"])
        quote = read_quote(ticker, InstrumentId(0), option, 1)
        for side, price in (("bid", quote.bid), ("ask", quote.ask)):
            said = ticker[f"best_{side}_price"]
            assert price == said or (not said and np.isnan(price))
            missing += np.isnan(price)
    assert missing > 0  # a book without bids is in the capture


def beside_ours(row):
    """Return the years to an option's end, our Greeks at the venue's volatility, ours at its mark."""
    option = deribit_option(row["symbol"])
    years = (expiry_instant_ns(option) - row["ts"]) / 1e9 / 86_400 / 365.0
    forward, strike = row["underlying_price"], float(option.strike)
    greeks = coin_greeks(forward, strike, years, row["mark_iv"], option.is_call)
    value = row["mark_price"] * forward
    vol, _ = implied_vol_scalar(value, forward, strike, years, option.is_call, american=False)
    return years, greeks, vol


def test_greeks_and_volatilities_stand_beside_ours():
    """The venue's delta is that of Black 1976, not premium-adjusted; our figures differ by its rounding.

    Deltas and gammas are given to five decimals. Two differences are not rounding. The mark of a deep option
    lags its forward, so that its volatility is not to be had from it. The theta of an option in its last day
    is what it can still lose, not a rate for a whole day.
    """
    found, _ = read_capture(FOLDER / "DERIBIT.ws.1.0.gz")
    compared = 0
    for said in found["tickers"]:
        years, mine, vol = beside_ours(said)
        forward = said["underlying_price"]
        assert mine.delta + mine.price == pytest.approx(said["delta"], abs=1.1e-5)
        assert mine.gamma + mine.delta / forward == pytest.approx(said["gamma"], abs=5.1e-6)
        assert mine.vega * forward / 100.0 == pytest.approx(said["vega"], abs=0.002)
        deep = abs(said["delta"]) > 0.95
        assert mine.price == pytest.approx(said["mark_price"], abs=2.1e-4 if deep else 2.2e-5)
        if years * 365.0 > 1.0:
            assert mine.theta * forward / 365.0 == pytest.approx(said["theta"], abs=0.003)
        if said["vega"] > 1.0:
            assert vol == pytest.approx(said["mark_iv"], abs=2e-4)
            compared += 1
    assert compared == 69


def test_the_capture_is_imported_whole(tmp_path, capsys):
    for name in ("DERIBIT.ws.1.0.gz", "DERIBIT.0.gz", "ticker.parquet"):
        assert (
            main(["data", "import", "deribit", str(FOLDER / name), "--catalog", str(tmp_path), "--json"]) == 0
        )
    first, second, third = (json.loads(line)["data_sets"][0] for line in documents(capsys.readouterr().out))
    assert first["rows"] == third["rows"] == {"tickers/BTC": 69, "tickers/ETH": 20}
    assert first["notes"] == ["messages read: 46 book, 1 reply, 89 ticker"]
    assert (second["rows"]["listings/BTC"], second["rows_total"]) == (399, 1_017)
    assert second["notes"] == ["messages read: 4 instruments"]


@pytest.mark.rows(
    ("text", "where", "why"),
    [
        ("-> {not json", "1", "not JSON"),
        ('-> {"result": []}\n-> {"method": "nonsense"}', "2", ""),
        ('-> {"method": "subscription", "params": {"channel": "ticker.X", "data": {}}}', "1", ""),
    ],
)
def test_a_message_of_a_capture_that_cannot_be_read_is_named_by_its_line(tmp_path, text, where, why):
    path = tmp_path / "capture.txt"
    path.write_text(text)
    with pytest.raises(DataError, match="a message of the capture cannot be read") as refused:
        read_capture(path)
    assert refused.value.where == f"{path}:{where}"
    assert why in refused.value.value


def test_a_capture_counts_what_it_leaves_out_and_keeps_its_prints(tmp_path):
    path = tmp_path / "capture.txt"
    trade = {"trade_id": "7", "instrument_name": "BTC-PERPETUAL", "timestamp": 1_741_168_800_123}
    trade |= {"direction": "buy", "amount": 10.0, "price": 90_000.5, "index_price": 9e4, "mark_price": 9e4}
    frames = [
        {"method": "heartbeat", "params": {"type": "test_request"}},
        {"method": "subscription", "params": {"channel": "trades.BTC-PERPETUAL.raw", "data": [trade, trade]}},
    ]
    lines = [f"-> {json.dumps(frame)}" for frame in frames] + ['<- {"method": "sent"}', "configuration {}"]
    path.write_text("\n".join(lines))
    rows, kinds = read_capture(path)
    assert kinds == {"heartbeat": 1, "trades": 1}
    assert [(row["price"], row["amount"]) for row in rows["prints"]] == [(90_000.5, 10.0)] * 2
    with pytest.raises(DataError, match="the capture cannot be read"):
        read_capture(tmp_path / "nowhere")


@pytest.mark.parametrize("is_wrapped", [False, True])
@pytest.mark.parametrize("indent", [None, 2])
def test_answers_over_http_are_read_as_they_were_kept(tmp_path, is_wrapped, indent):
    ticker = {"instrument_name": "BTC-28MAR25-90000-C", "timestamp": 1_741_168_800_123, "open_interest": 3.0}
    ticker |= {"best_bid_price": 0.05, "best_bid_amount": 1.5, "best_ask_price": 0.0, "best_ask_amount": 0.0}
    ticker |= {"mark_price": 0.051, "index_price": 9e4, "underlying_price": 9.1e4, "mark_iv": 55.0}
    trade = {"trade_id": "7", "instrument_name": "BTC-PERPETUAL", "timestamp": 1_741_168_800_124}
    trade |= {"direction": "buy", "amount": 10.0, "price": 90_000.5, "index_price": 9e4, "mark_price": 9e4}
    results = [ticker, {"trades": [trade], "has_more": False}]
    answers = [{"jsonrpc": "2.0", "result": each} for each in results] if is_wrapped else [ticker, trade]
    (tmp_path / "raw.json").write_text(json.dumps(answers, indent=indent))
    rows, kinds = read_capture(tmp_path / "raw.json")
    assert kinds == {"ticker": 1, "trades": 1}
    assert [row["bid"] for row in rows["tickers"]] == [0.05]
    assert [row["price"] for row in rows["prints"]] == [90_000.5]
    (tmp_path / "one.json").write_text(json.dumps(answers[0], indent=indent))
    assert read_capture(tmp_path / "one.json")[0]["tickers"] == rows["tickers"]


def documents(text):
    """Split JSON documents that were printed one after another."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        _, end = decoder.raw_decode(text, at)
        yield text[at:end]
        at = end + len(text[end:]) - len(text[end:].lstrip())


def test_the_page_shows_the_venues_figures_beside_ours():
    """Each line of the table in docs/evidence/live.md is made again from the capture."""
    found, _ = read_capture(FOLDER / "DERIBIT.ws.1.0.gz")
    last = {row["symbol"]: row for row in found["tickers"]}
    page = (Path(__file__).parents[3] / "docs" / "evidence" / "live.md").read_text("utf-8")
    shown = [line for line in page.splitlines() if re.match(r"\| `(BTC|ETH)-\d+[A-Z]{3}\d\d-", line)]
    assert len(shown) == len(last) == 10
    for line in shown:
        name = line.split("`")[1]
        row = last[name]
        years, ours, vol = beside_ours(row)
        forward = row["underlying_price"]
        cells = [
            f"{years * 365.0:.1f}",
            f"{100 * row['mark_iv']:.2f} / {100 * vol:.2f}",
            f"{row['delta']:.5f} / {ours.delta + ours.price:.5f}",
            f"{row['gamma']:.5f} / {ours.gamma + ours.delta / forward:.6f}",
            f"{row['vega']:.3f} / {ours.vega * forward / 100.0:.3f}",
            f"{row['theta']:.3f} / {ours.theta * forward / 365.0:.3f}",
        ]
        assert line == f"| `{name}` | {' | '.join(cells)} |"
