"""TWS's socket protocol, served on the simulated market."""
