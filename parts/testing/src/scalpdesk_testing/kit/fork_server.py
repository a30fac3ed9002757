"""Importing this, as the process that commands are forked from does, imports and draws what each needs."""

from contextlib import suppress
from datetime import date
from importlib import import_module

from scalpdesk import pricing
from scalpdesk.datasets.embedded import market
from scalpdesk.instruments.sessions import is_session

for module in (
    "aiohttp",
    "scalpdesk_testing.kit.forked",
    "scalpdesk_testing.kit.live_session",
    "scalpdesk.assembly",
    "scalpdesk.cli.exchange",
    "scalpdesk.cli.operate",
    "scalpdesk.cli.run",
    "scalpdesk.exchange.launch",
    "scalpdesk.live.run",
    "scalpdesk_alpaca.gateway",
    "scalpdesk_deribit.gateway",
):
    with suppress(ImportError):  # what is not installed is not needed
        import_module(module)
is_session(date(2018, 2, 5))
pricing.warm_up()
market.reconstruct(date(2018, 2, 5), seed=1, underlying="SPY")  # the day of most tests
