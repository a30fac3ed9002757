"""Reconstructed markets: sessions of the S&P 500 from 2014 to 2018 with their option chains, and coins."""

EMBEDDED = "embedded"
"""The data set of shares and their options."""
COIN_MARKETS = {"embedded-btc": "BTC-PERPETUAL", "embedded-eth": "ETH-PERPETUAL"}
"""The data sets that settle in coin, with their underlyings."""
RECONSTRUCTED = (EMBEDDED, *COIN_MARKETS)
"""Data sets that are in no catalogue."""
