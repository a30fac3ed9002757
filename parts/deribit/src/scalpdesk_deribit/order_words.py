"""Deribit's words for order types, by the desk's name: read by the gateway and by the served exchange."""

from scalpdesk.core.order_types import TRAITS

ORDER_WORDS = {"market": "market", "limit": "limit", "stop": "stop_market", "stop_limit": "stop_limit"}
TYPE_OF = {word: name for name, word in ORDER_WORDS.items()}
"""The desk's name by the venue's word."""


def needs_limit(word: object) -> bool:
    """Return whether an order of this word has a limit; False for a word that is not known."""
    return isinstance(word, str) and word in TYPE_OF and TRAITS[TYPE_OF[word]].needs_limit
