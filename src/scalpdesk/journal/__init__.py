"""Journal of a run: append-only, hash-chained, replayable."""
