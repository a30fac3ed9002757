"""Trials by the protocol of their venue: our own, and those of installed packages."""

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk_testing.alpaca_trial import AlpacaTrial
from scalpdesk_testing.campaign import TRIALS, trial_of
from scalpdesk_testing.kit.packages import install_points


class LineTrial(AlpacaTrial):
    """A trial over the protocol of a package."""


class NoDraw:
    """A class that is no trial."""


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    points = {"lines": f"{__name__}:LineTrial", "broken": f"{__name__}:NoDraw"}
    install_points(tmp_path, "line-trials", {TRIALS.group: points})
    monkeypatch.syspath_prepend(tmp_path)


def test_a_trial_of_a_package_is_found_by_its_protocol():
    assert TRIALS.names() == ("alpaca", "broken", "deribit", "lines", "tws")
    assert trial_of("lines") is LineTrial
    assert trial_of("alpaca") is AlpacaTrial


def test_what_is_no_trial_is_refused_by_its_members():
    with pytest.raises(ConfigError, match="it has no draw"):
        trial_of("broken")


def test_an_unknown_protocol_is_refused_and_not_run_as_another():
    with pytest.raises(ConfigError) as caught:
        trial_of("deribt")
    assert caught.value.nearest == "deribit"
