"""Messages of a venue that come changed: a field that is absurd, missing or of another kind, bytes cut short.

The desk must live through 2,000 of each protocol, keep to its clock, and be able to close what it holds.
"""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND
from scalpdesk_testing.campaign import trial_of
from scalpdesk_testing.schedule import quiet_schedule
from scalpdesk_testing.small_desk import scratch_folder
from scalpdesk_testing.trial import Trial

pytestmark = pytest.mark.second
MESSAGES = 2_000
BEGINS, ENDS, CLOSES = 5.0, 110.0, 150.0
"""When messages begin to come changed and cease to, and when a person flattens; loop seconds."""
ONE_OF = 3
"""One of so many messages is changed."""
MOST_AHEAD_NS = 15 * MINUTE_NS
"""An event may be stamped so far ahead of the desk's time."""
NUMBERS: tuple[Any, ...] = (
    0,
    -1,
    1e30,
    -1e30,
    2**31 - 1,
    2**63 - 1,
    2**64,
    2**127 - 1,
    1.7976931348623157e308,
    5e-324,
    253_402_300_799_000,
    0.1 + 0.2,
)
"""Sentinels, bounds and the last instant of the year 9999."""
OTHERS: tuple[Any, ...] = (None, "", "abc", "NaN", "Infinity", "1e999", "9999-12-31T23:59:59Z", True, [], {})


def changed_value(dice: random.Random, value: Any) -> Any:
    """Return something else in place of a value of a message."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return dice.choice((*NUMBERS, *OTHERS, -value, value * 1_000, str(value)))
    if isinstance(value, str):
        return dice.choice((*map(str, NUMBERS), *NUMBERS, *OTHERS, value * 2, value[::-1]))
    return dice.choice((*NUMBERS, *OTHERS))


def changed_tree(dice: random.Random, tree: Any) -> Any:
    """Change, remove or add one value anywhere in a message."""
    if isinstance(tree, dict) and tree and dice.random() < 0.9:
        name = dice.choice(list(tree))
        if dice.random() < 0.1:
            return {key: value for key, value in tree.items() if key != name}
        return tree | {name: changed_tree(dice, tree[name])}
    if isinstance(tree, list) and tree and dice.random() < 0.9:
        place = dice.randrange(len(tree))
        if dice.random() < 0.1:
            return [*tree, tree[place]]
        return [*tree[:place], changed_tree(dice, tree[place]), *tree[place + 1 :]]
    return changed_value(dice, tree)


def changed_bytes(dice: random.Random, data: bytes) -> bytes:
    """Cut bytes short, or flip one of them."""
    place = dice.randrange(len(data)) if data else 0
    if dice.random() < 0.5:
        return data[:place]
    return data[:place] + bytes((dice.randrange(256),)) + data[place + 1 :]


def changed_message(dice: random.Random, data: bytes) -> bytes:
    """Change a message in JSON or in MessagePack."""
    if dice.random() < 0.1:
        return changed_bytes(dice, data)
    try:
        return json.dumps(changed_tree(dice, json.loads(data))).encode()
    except ValueError:
        pass
    try:
        return msgspec.msgpack.encode(changed_tree(dice, msgspec.msgpack.decode(data)))
    except (msgspec.DecodeError, OverflowError, TypeError):
        return changed_bytes(dice, data)


def changed_fields(dice: random.Random, data: bytes) -> bytes:
    """Change a frame of TWS: fields that end in a zero byte, behind their length."""
    body = data[4:]
    if dice.random() < 0.1:
        body = changed_bytes(dice, body)
    else:
        fields = body.split(b"\0")
        place = dice.randrange(len(fields))
        value = changed_value(dice, fields[place].decode("utf-8", "replace"))
        fields[place] = str(value).encode()
        if dice.random() < 0.1:
            del fields[place]
        body = b"\0".join(fields)
    return struct.pack(">I", len(body)) + body


class Stirred:
    """A trial of a quiet day whose messages come changed for a while.

    Parameters
    ----------
    make
        Trial over a venue's protocol.
    seed
        Of the dice.
    """

    def __init__(self, make: Callable[..., Trial], seed: int, folder: Path) -> None:
        self.trial = trial = make(quiet_schedule(seed), folder)
        self._dice = random.Random(seed)
        self._change = changed_fields if type(trial).__name__ == "TwsTrial" else changed_message
        self.changed = 0
        """How many messages were changed."""
        trial.line.on_coming = self._coming
        trial.loop.call_at(CLOSES, trial.mishaps.operate, "flatten", "the day is over")

    def _coming(self, data: bytes) -> bytes:
        if not BEGINS < self.trial.loop.time() < ENDS or self._dice.randrange(ONE_OF):
            return data
        self.changed += 1
        return self._change(self._dice, data)

    def run(self) -> list[str]:
        """Run it; return what is wrong: the desk died, left its clock, or holds anything."""
        trial = self.trial
        outcome = trial.run()
        wrong = [
            f"{each.invariant}: {each.detail}" for each in outcome.violations if each.invariant[:2] == "0 "
        ]
        ahead_ns = trial.engine.now_ns - trial.clock.true_ns()
        if ahead_ns > MOST_AHEAD_NS:
            wrong.append(f"clock: {ahead_ns / NANOS_PER_SECOND:.0f} s ahead")
        held = {number: trial.account.quantity(number) for number in trial.numbers}
        if any(held.values()):
            wrong.append(f"flat: the account holds {held}, the desk is {trial.engine.desk.gate.mode.value}")
        return wrong


@pytest.mark.parametrize("protocol", ["alpaca", "deribit", "tws"])
def test_changed_messages_leave_a_desk_alive_at_its_clock_and_able_to_flatten(protocol):
    changed, seed = 0, 0
    while changed < MESSAGES:
        with scratch_folder() as folder:
            stirred = Stirred(trial_of(protocol), seed, Path(folder))
            assert (seed, stirred.run()) == (seed, [])
        assert stirred.changed
        changed, seed = changed + stirred.changed, seed + 1
