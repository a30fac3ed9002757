"""Feeding a tape to the engine and reading the result."""
