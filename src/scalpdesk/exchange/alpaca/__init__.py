"""Alpaca's protocol over a world: bytes in, bytes out, no socket and no event loop."""
