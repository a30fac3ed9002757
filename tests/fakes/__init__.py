"""Small builders for tests of strategies, fill models and risk checks.

Everything here is public for authors of plug-ins who test them without a data set:

- :mod:`fakes.instruments`: a share, options by expiry, strike and right.
- :mod:`fakes.tape`: a market tape written quote by quote, or from a path of the underlying.
- :mod:`fakes.desk`: an engine around a strategy, driven by hand or by a tape.
- :mod:`fakes.clock`: the clock that stands still until it is moved.
"""
