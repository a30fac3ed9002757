"""Cards of the Desk page that installed packages add: figures of the followed run, each with a label."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.sockets import CARDS
from scalpdesk.monitor import answers
from scalpdesk.monitor.follower import RunFollower


class CardRow(NamedTuple):
    """A line of a card: label and text; the page shows a text of None as a dot."""

    label: str
    text: str | None
    tone: str = ""
    """Colour: ``up``, ``down``, ``warn``, ``muted``, ``strong``, or empty."""


@dataclass(frozen=True)
class CardSpec:
    """A card of a package: its title and its rows, which are read again every few seconds.

    ``rows`` gets the followed run after its header was read, under the lock that no other reader holds.
    """

    name: str
    title: str
    rows: Callable[[RunFollower], Iterable[CardRow]]


def cards(follower: RunFollower) -> answers.Cards:
    """Return every installed card; one that cannot be loaded or fails says why, and the others are shown."""
    found: list[answers.Card] = []
    for name in CARDS.names() if follower.engine is not None else ():
        rows: list[answers.CardLine] = []
        title, problem = name, None
        try:
            spec = CARDS.find_spec(CardSpec, name)
            title = spec.title
            of_spec = (CardRow(*row) for row in spec.rows(follower))
            rows = [{"label": each.label, "text": each.text, "tone": each.tone} for each in of_spec]
        except ConfigError as refusal:
            problem = f"{refusal.what} ({refusal.where}); {refusal.fix}"
        except Exception as error:  # noqa: BLE001 - a package's fault is the card's text, not the page's end
            problem = f"{type(error).__name__}: {error}"
        found.append({"name": name, "title": title, "rows": rows, "problem": problem})
    return {"cards": found}
