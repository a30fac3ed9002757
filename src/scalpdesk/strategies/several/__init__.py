"""Several strategies in one desk: a book, a budget and orders of its own for each, one account."""
