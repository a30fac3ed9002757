"""st0cka, st0ckg, hybrid, the EMA-cloud scalper, and strategies in folders."""
