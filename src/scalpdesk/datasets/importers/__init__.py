"""Recorded formats, one a file."""
