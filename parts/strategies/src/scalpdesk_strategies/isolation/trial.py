"""What a strategy folder has to be shown so that it sees its hedge: a small desk tries it.

A folder that sums delta times quantity has to be shown its shares as a position, and its options in shares;
one that keeps a count of its own would count such shares twice. Which of the two it is, its orders tell: it
is shown ten calls whose delta stays and then moves, in each form, and every order for the shares is filled.
In the form that fits, the net delta is near zero afterwards and stays there.
"""

import re
from collections.abc import Callable, Sequence
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from scalpdesk.core.events import FolderNeeds
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.sessions import new_york_ns, to_new_york
from scalpdesk.protocol import to_decimal, ts_text
from scalpdesk.protocol.messages import exact_qty
from scalpdesk.protocol.values import ts_ns
from scalpdesk_strategies.answers import SeenIds, sort_answers
from scalpdesk_strategies.isolation.harness import FolderBackend

Form = tuple[bool, bool]
"""Whether options are counted in shares, and whether shares are shown as a position."""
_CONTRACTS = 10
_DELTAS = (0.65,) * 6 + (0.75,) * 6
_SETTLED = (3, 4, 5, 9, 10, 11)
"""Pictures after which the net delta has to be near zero."""
_NEAR = 0.2
"""Part of the options' delta."""
_SECONDS_APART = 120
_PICTURES = 4
"""Most pictures at one delta: another follows each fill, a second later."""
_EARLIEST, _LATEST = time(10), time(15)
_FALLBACK = time(11)


def needs_of(
    begin: Callable[[], FolderBackend], folder: Path, sample: Sequence[dict[str, Any]], forms: Sequence[Form]
) -> FolderNeeds:
    """Return how a folder has to be shown the book.

    Parameters
    ----------
    begin
        Starts the folder afresh.
    folder
        Where its code is; its names decide where its orders tell nothing.
    sample
        Events of one picture: an option, then its underlying.
    forms
        Those that the settings leave open, the preferred one first.
    """
    for counts_shares, shares_as_position in forms:
        backend = begin()
        try:
            sold = _hedge_of(backend, sample, counts_shares, shares_as_position)
        finally:
            backend.close()
        if sold is not None:
            why = f"tried on {_CONTRACTS} calls it hedged {sold} shares and then held still"
            return FolderNeeds(counts_shares, shares_as_position, why)
    return _by_names(folder, forms)


def _hedge_of(
    backend: FolderBackend, sample: Sequence[dict[str, Any]], counts_shares: bool, shares_as_position: bool
) -> Decimal | None:
    """Return the shares of the hedge that a folder holds in one form; None where it does not hold one."""
    option, share = sample
    multiplier = int(option["payload"]["multiplier"])
    unit = multiplier if counts_shares else 1
    contracts, shares = Decimal(_CONTRACTS), Decimal(0)
    now_ns = _begin_ns(str(share["ts"]))
    seen = SeenIds()
    for index, delta in enumerate(_DELTAS):
        for again in range(_PICTURES):  # the desk shows the market anew after each fill
            payload: dict[str, Any] = share["payload"] | {
                "position_shares": float(shares),
                "pending_shares": 0.0,
                "picture_index": 2,
                "picture_size": 2,
            }
            if shares_as_position:
                payload |= {"delta": 1.0, "quantity": float(shares)}
            held = {
                "delta": delta,
                "quantity": float(contracts * unit),
                "pending_quantity": 0.0,
                "quantity_unit": "shares" if counts_shares else "contracts",
                "picture_index": 1,
                "picture_size": 2,
            }
            seconds = index * _SECONDS_APART + again
            stamp = {"ts": ts_text(now_ns + seconds * NANOS_PER_SECOND)}
            events = (
                option | stamp | {"event_id": f"trial_{seconds}_1", "payload": option["payload"] | held},
                share | stamp | {"event_id": f"trial_{seconds}_2", "payload": payload},
            )
            before = contracts, shares
            for reply in backend.ask_all(events):
                if reply.failure is not None:
                    return None
                for intent in sort_answers(reply.messages, seen).intents:
                    signed = exact_qty(intent) * (1 if intent["side"] == "buy" else -1)
                    if intent["symbol"] == share["symbol"]:
                        shares += signed
                    elif intent["symbol"] == option["symbol"]:
                        contracts += signed / unit
            if (contracts, shares) == before:
                break
        of_options = contracts * multiplier * to_decimal(delta)
        if index in _SETTLED and not abs(of_options + shares) <= abs(of_options) * to_decimal(_NEAR):
            return None
    return abs(shares) if shares else None


def _begin_ns(ts: str) -> int:
    """Return the time of the first picture: that of the market, within the hours in which anybody trades."""
    now_ns = ts_ns(ts)
    local = to_new_york(now_ns)
    return now_ns if _EARLIEST <= local.time() <= _LATEST else new_york_ns(local.date(), _FALLBACK)


def _by_names(folder: Path, forms: Sequence[Form]) -> FolderNeeds:
    """Return what the fields that the code names tell."""
    code = "\n".join(path.read_text("utf-8", errors="replace") for path in sorted(folder.glob("*.py")))
    named = set(re.findall(r"""["'](\w+)["']""", code))
    as_position = "position_shares" not in named
    counts_shares = "delta" in named and not named & {"multiplier", "quantity_unit"}
    form = next((each for each in forms if each == (counts_shares, as_position)), forms[0])
    return FolderNeeds(*form, "in a trial it held no hedge: by the fields that its code names")
