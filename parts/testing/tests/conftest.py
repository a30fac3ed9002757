"""The surroundings of the kit, which these tests have without the rest of the repository, too."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("scalpdesk_testing.kit.surroundings")
