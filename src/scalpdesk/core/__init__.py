"""Words that everyone uses: units, errors, clocks, events, intents."""
