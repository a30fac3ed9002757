"""A LEAN folder small enough to read by eye."""

from pathlib import Path

import pytest

from scalpdesk_testing.kit.archives import put_zip


@pytest.fixture
def small_lean(tmp_path: Path) -> Path:
    root = tmp_path / "Data"
    shares = root / "equity" / "usa" / "minute" / "xyz"
    # 09:30:00 and 09:31:00 New York; the second row has no ask
    put_zip(
        shares / "20151223_quote.zip",
        {
            "20151223_xyz_minute_quote.csv": (
                "34200000,1000000,1001000,999000,1000500,300,1002000,1003000,1001500,1002500,200\n"
                "34260000,1000500,1000500,1000500,1000500,100,,,,,0\n"
            )
        },
    )
    put_zip(
        shares / "20151223_trade.zip.zip",
        {"20151223_xyz_minute_trade.csv": "34200000,1000000,1003000,999000,1001000,1500\n"},
    )
    put_zip(
        root / "option" / "usa" / "minute" / "xyz" / "20151223_quote_american.zip",
        {
            "20151223_xyz_minute_quote_american_put_975000_20151224.csv": (
                "34200000,,,,,0,5500,5500,5000,5000,12\n"
            ),
            "20151223_xyz_minute_quote_american_call_1000000_20151224.csv": (
                "34200000,15000,16000,15000,16000,7,17000,18000,17000,17500,9\n"
            ),
        },
    )
    put_zip(
        root / "index" / "usa" / "minute" / "spx" / "20210104_trade.zip",
        {"20210104_spx_minute_trade.csv": "30600000,3764.61,3769.99,3764.61,3766.63,59\n"},
    )
    put_zip(
        root / "future" / "cme" / "minute" / "es" / "20131007_trade.zip",
        {"20131007_es_minute_trade_201312.csv": "0,1676.5,1676.75,1676.25,1676.5,9\n"},
    )
    factors = root / "equity" / "usa" / "factor_files" / "xyz.csv"
    factors.parent.mkdir(parents=True)
    # 1.00 off a close of 100 on the Friday; two for one before that
    factors.write_text("20150601,0.99,0.5,180\n20151218,0.99,1,100\n20501231,1,1,0\n")
    rates = root / "alternative" / "interest-rate" / "usa" / "interest-rate.csv"
    rates.parent.mkdir(parents=True)
    rates.write_text("DATE,PCREDIT8\n2015-01-01,0.75\n2015-12-17,1.00\n")
    return root
