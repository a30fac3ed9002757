"""Parts that strategies are put together from."""
