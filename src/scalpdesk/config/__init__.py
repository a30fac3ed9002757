"""Settings of a desk: their schema, sources and defaults."""
