"""A desk lives through changed messages of its venue: 2,000 of each protocol, on the wire double."""

from pathlib import Path

import pytest

from scalpdesk_testing.campaign import trial_of
from scalpdesk_testing.kit.stirred import Stirred
from scalpdesk_testing.small_desk import scratch_folder

pytestmark = pytest.mark.second
MESSAGES = 2_000


@pytest.mark.parametrize("protocol", ["alpaca", "deribit", "tws"])
def test_changed_messages_leave_a_desk_alive_at_its_clock_and_able_to_flatten(protocol):
    changed, seed = 0, 0
    while changed < MESSAGES:
        with scratch_folder() as folder:
            stirred = Stirred(trial_of(protocol), seed, Path(folder))
            assert (seed, stirred.run()) == (seed, [])
        assert stirred.changed
        changed, seed = changed + stirred.changed, seed + 1
