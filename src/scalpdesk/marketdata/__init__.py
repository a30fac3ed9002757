"""What the market says now: quotes and their verdicts, bars, chains, triggers, tapes."""
