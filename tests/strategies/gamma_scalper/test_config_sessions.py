"""What ends an entry is of a session, and no setting; a stored run keeps what it recorded."""

import json
import os
from pathlib import Path

import pytest

from scalpdesk.config import history, settings
from scalpdesk.core.errors import ConfigError


def test_what_ends_an_entry_is_no_setting_but_a_run_of_before_keeps_what_it_recorded():
    """It is of the session in every mode; a journal says what its run did, if only by not naming it."""
    name = "gamma-scalper"

    def load(**more):
        return settings.load_settings(name, cwd=Path(os.devnull), **more)

    now = load()
    assert now.hashes == load(overrides=["entry.again_next_session=true"]).hashes
    with pytest.raises(ConfigError) as caught:
        load(overrides=["entry.again_next_session=false"])
    assert caught.value.where.startswith("strategies.gamma-scalper.entry.again_next_session")
    stored = json.loads(json.dumps(now.effective(), default=str))
    for recorded, meant in ((True, True), (False, False), (None, False)):
        entry = stored["strategies"][name]["entry"]
        entry.pop("again_next_session")
        if recorded is not None:
            entry["again_next_session"] = recorded
        sections = history.as_of_today(stored)["strategies"]
        assert sections[name]["entry"]["again_next_session"] is meant
        assert settings.changed_settings(name, stored) == {}
