"""Deribit: options and perpetuals on coins, live and test."""
