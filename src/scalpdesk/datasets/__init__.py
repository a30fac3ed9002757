"""Recorded and reconstructed markets."""
