"""Pages of the runs while the database of the runs is down."""

import pytest

from scalpdesk.core.clock import SystemClock
from scalpdesk.web.feed import DeskFeed

DOWN = "postgresql://desk:hidden-word@127.0.0.1:1/desk"
KEY = {"authorization": "Bearer viewer-token"}


@pytest.mark.parametrize("page", ["/api/runs", "/api/runs/last", "/api/scalps"])
def test_a_page_says_that_the_database_of_the_runs_is_down_and_shows_no_password(page, ended_runs, client_of):
    client = client_of(DeskFeed(ended_runs[0], None, SystemClock(), records_url=DOWN))
    answer = client.get(page, headers=KEY)
    assert answer.status_code == 503
    assert answer.json()["fix"]
    assert "hidden" not in answer.text
    assert client.get("/healthz").status_code == 200
