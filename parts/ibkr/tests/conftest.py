"""The surroundings of the kit, which these tests have without the rest of the repository, too."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("scalpdesk_testing.kit.surroundings")


@pytest.fixture
def asked_soon(monkeypatch):
    """TWS's own word on an order or a position is waited for a fifth of a second only."""
    monkeypatch.setattr("scalpdesk_ibkr.executions.AGREE_SECONDS", 0.2)
    monkeypatch.setattr("scalpdesk_ibkr.order_messages.EXPLAINED_SECONDS", 0.2)
