"""scalpdesk: a desk for gamma scalping and short-dated option scalping.

What a notebook needs; many runs over one market take ``PreparedMarket``, ``simulate`` and ``sweep``::

    from scalpdesk import backtest, load_data
"""

from scalpdesk.core.doors import door

__getattr__, __dir__ = door(__name__, __file__)
