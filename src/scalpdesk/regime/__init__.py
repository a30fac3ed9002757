"""What others say of the market's regime, read from where they keep it.

It stands on the floor of the venues: it speaks over the network and runs a thread, neither of which the
decision path may know. What it learns reaches the engine as an event, like everything else.
"""
