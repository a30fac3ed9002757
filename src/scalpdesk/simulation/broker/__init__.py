"""A broker over a market: several accounts, every order type of a US equity and option broker, one truth."""
