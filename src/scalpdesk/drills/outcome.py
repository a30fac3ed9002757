"""What a trial gave."""

from collections import Counter
from dataclasses import dataclass, field

from scalpdesk.drills.invariants import Violation


@dataclass
class Outcome:
    """What a trial gave.

    Parameters
    ----------
    seed, digest
        Which, and a hash over all events, outputs and the exchange's own books.
    violations
        Laws that did not hold.
    orders, faults, events, lives
        Orders at the venue, faults that struck, events handled, lives of the desk's process.
    edges, pairs
        How often each edge of the order machine and each pair of fault and state was met.
    says
        What the desk told a person, with its time (seconds after the beginning).
    """

    seed: int
    digest: str = ""
    violations: list[Violation] = field(default_factory=list)
    orders: int = 0
    faults: int = 0
    events: int = 0
    lives: int = 1
    edges: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    says: list[tuple[float, str, str]] = field(default_factory=list)

    def note(self, invariant: str, detail: str) -> None:
        """Add a violation at the end."""
        self.violations.append(Violation(self.seed, invariant, self.events, detail))
