"""The embedded market: reconstructed sessions of the S&P 500, 2014 to 2018, and their option chains."""
