"""Alpaca's protocol over a simulated market: bytes in, bytes out; no socket, no event loop."""
