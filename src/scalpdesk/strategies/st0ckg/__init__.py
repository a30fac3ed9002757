"""st0ckg: buys the option of the day that the strongest of seven signals points at."""
