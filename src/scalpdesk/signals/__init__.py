"""Opinions about the market, each with a measure of how far it can be trusted; one file each."""
