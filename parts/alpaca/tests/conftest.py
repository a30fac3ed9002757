"""The surroundings of the kit, which these tests have without the rest of the repository; a conversation."""

import pytest

from scalpdesk.base import Equity, Instruments, us_option
from scalpdesk_testing.kit import alpaca_wire as samples
from scalpdesk_testing.kit.scripted_venue import Conversation


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("scalpdesk_testing.kit.surroundings")


@pytest.fixture
def account():
    """Answers to a view of an account without anything."""
    clock = {
        "timestamp": samples.AT_TEXT,
        "is_open": True,
        "next_open": "2026-11-23T09:30:00-05:00",
        "next_close": "2026-11-20T16:00:00-05:00",
    }
    lists = ("orders", "positions", "account/activities", "account/activities/FILL")
    return {f"GET /v2/{name}": (200, []) for name in lists} | {
        "GET /v2/account": (200, {"id": "mine", "status": "ACTIVE", "cash": "5"}),
        "GET /v2/clock": (200, clock),
        f"GET /v2/assets/{samples.STOCK}": (404, {"message": "not found"}),
    }


@pytest.fixture
def talk():
    """Build a conversation, closed with the test.

    Its venue answers by the request's line; a list is used up from its front, its last answer stays.
    ``working`` has sent an order that rests at the venue; its answer has the ``headers``.
    """
    made = []

    def build(answers=None, *, working=None, headers=None, **options):
        answers = {"POST /v2/orders": (200, samples.order(), headers or {})} | (answers or {})

        def answer(asked):
            found = answers[asked.line]
            if callable(found):
                return found(asked)
            if isinstance(found, list):
                return found.pop(0) if len(found) > 1 else found[0]
            return found

        book = Instruments([Equity(samples.STOCK), us_option(samples.OPTION), us_option(samples.PUT)])
        made.append(Conversation(book, answer, samples.AT_NS, **options))
        if working is not None:
            made[-1].send(working)
        return made[-1]

    yield build
    for each in made:
        each.close()
