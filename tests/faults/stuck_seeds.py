"""Batches of seeds of which one never ends, or ends its process: run by workers of a campaign."""

import os
from collections.abc import Sequence

from scalpdesk_testing.campaign import Campaign
from scalpdesk_testing.trial import TrialOutcome

HANGS, DIES = 1_000, 17


def run_stuck(seeds: Sequence[int], protocol: str = "alpaca") -> Campaign:
    """Count seeds without a trial; one of them loops for ever, at another the process ends."""
    del protocol
    found = Campaign()
    for seed in seeds:
        while seed == HANGS:
            pass
        if seed == DIES:
            os._exit(3)
        found.add(TrialOutcome(seed, digest=str(seed)))
    return found
