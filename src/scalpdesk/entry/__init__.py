"""What to buy, whether, and how many."""
