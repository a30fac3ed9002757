"""TWS's words for order types, by the desk's name: read by the gateway and by the served exchange."""

from typing import NamedTuple

from scalpdesk.core.order_types import TRAITS


class TypeWords(NamedTuple):
    """Words of a type; those of an order for the close are its own."""

    usual: str
    at_close: str | None = None


ORDER_WORDS = {
    "market": TypeWords("MKT", "MOC"),
    "limit": TypeWords("LMT", "LOC"),
    "stop": TypeWords("STP"),
    "stop_limit": TypeWords("STP LMT"),
    "trailing_stop": TypeWords("TRAIL"),
}
TYPE_OF = {word: name for name, words in ORDER_WORDS.items() for word in words if word}
"""The desk's name by TWS's word."""
AT_CLOSE = frozenset(words.at_close for words in ORDER_WORDS.values() if words.at_close)
"""Words of orders for the close."""


def needs_limit(word: str) -> bool:
    """Return whether an order of this word has a limit; False for a word that is not known."""
    return word in TYPE_OF and TRAITS[TYPE_OF[word]].needs_limit
