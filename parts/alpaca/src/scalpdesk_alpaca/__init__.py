"""Alpaca: stocks and US options, live and paper."""
