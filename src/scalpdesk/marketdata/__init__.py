"""Market data: quotes and verdicts, bars, chains, dealer gamma, triggers, tapes."""
