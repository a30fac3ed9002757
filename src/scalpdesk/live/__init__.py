"""The desk on a venue: one queue, one consumer, recovery, reconciliation, operation, watchdog."""
