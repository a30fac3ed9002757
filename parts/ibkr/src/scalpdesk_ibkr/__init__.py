"""Interactive Brokers, over TWS or its gateway."""
