"""Builders for the tests of plug-ins: strategies, signals, bands, fill models and alerts without a data set.

- :mod:`scalpdesk_testing.kit.instruments`: a share, options by expiry, strike and right.
- :mod:`scalpdesk_testing.kit.tape`: a market tape written quote by quote, or from a path of the underlying.
- :mod:`scalpdesk_testing.kit.desk`: an engine around a strategy, driven by hand or by a tape.
- :mod:`scalpdesk_testing.kit.broker`: the simulated broker alone, or a desk's connection to it.
- :mod:`scalpdesk_testing.kit.live`: a live desk: at a venue that the test plays, on a tape, at an exchange.
- :mod:`scalpdesk_testing.kit.served`: the gateway of each venue beside an exchange of its protocol.
- :mod:`scalpdesk_testing.kit.surroundings`: a plugin of pytest: no settings, nothing left behind.
- :mod:`scalpdesk_testing.kit.clock`: the clock that stands still until it is moved.
"""
