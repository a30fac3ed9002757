"""Deribit's protocol, served from the simulated market."""
