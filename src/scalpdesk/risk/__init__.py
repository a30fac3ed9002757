"""Whether an order may go."""
