"""A venue's own words on their way to the operator, whatever table of a wire lists them or does not."""

import re

MOST_CHARACTERS = 300
_SEVERE = re.compile(
    r"margin|liquidat|close[- ]?out|cushion|regulation t\b|day trad|restrict|suspend|blocked|insolven",
    re.IGNORECASE,
)
"""Words of a broker that may close positions, or takes no orders of the account."""
_FIGURE = re.compile(r"\d[\d.,:]*")


def readable(words: str) -> str:
    """Return words on one line, of bounded length, that every journal and terminal takes.

    >>> readable("two   words")
    'two words'
    """
    line = " ".join(words.encode("utf-8", "replace").decode("utf-8").split())
    return "".join(each if each.isprintable() else "?" for each in line)[:MOST_CHARACTERS]


def is_severe(words: str) -> bool:
    """Return whether words speak of margin, liquidation or a blocked account: somebody is to be woken.

    >>> is_severe("positions may be liquidated"), is_severe("cancel all is done")
    (True, False)
    """
    return _SEVERE.search(words) is not None


def likeness(words: str) -> str:
    """Return what is equal of messages that differ in their figures alone.

    >>> likeness("order 17 of 5 shares") == likeness("order 18 of 3.5 shares")
    True
    """
    return _FIGURE.sub("#", words)
