"""Analysis: what a market, a chain or a stored run says, as documents that commands and notebooks show."""
