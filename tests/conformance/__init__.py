"""The questions that every plug of a kind answers."""
