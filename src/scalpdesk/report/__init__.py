"""The report of a run: one fold of its events and outputs, and what every presenter formats of it."""
