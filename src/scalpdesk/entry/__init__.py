"""Entry selection: the straddle or option to buy, and the gate on its edge."""
