"""Compiled kernels: Black–Scholes–Merton, American exercise, cash dividends, implied volatility.

Conventions of every kernel: scalars are float64; ``phi`` is +1.0 for a call and -1.0 for a put; ``T`` is in
years, ``v`` the volatility per square root of a year, ``r`` and ``q`` continuously compounded; Greeks come in
the order price, delta, gamma, theta, vega, rho, vanna, volga, charm, per one unit of the underlying, theta
and charm per year of calendar time. Callers have validated the inputs: no NaN, infinities or negative prices.
"""
