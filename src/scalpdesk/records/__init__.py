"""The journal as tables."""
