import json

import pytest

from scalpdesk.cli.main import main
from scalpdesk.live import status


@pytest.fixture
def desk(monkeypatch, tmp_path):
    """A desk that answers what is put here."""
    answer: dict[str, object] = {}
    monkeypatch.setattr(status, "running_desks", lambda _folder: [tmp_path])
    monkeypatch.setattr(status, "ask", lambda _folder, _request: answer)
    return answer


def test_a_refused_question_says_what_to_type(desk, capsys):
    desk.update(error="no order, or more than one, goes by x7", orders=["sd-000001", "sd-000002"])
    assert main(["why", "x7", "--runs-dir", ".", "--json"]) == 2
    said = json.loads(capsys.readouterr().out)["error"]
    assert said["where"] == "ORDER|DECISION"
    assert said["fix"] == "the newest orders: sd-000001, sd-000002"
    assert "value" not in said


def test_a_reason_of_blanks_is_none(desk, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(status, "ask", lambda _folder, request: asked.append(request) or {"error": "no"})
    assert main(["resume", "--reason", "   ", "--runs-dir", "."]) == 2
    assert asked == [{"do": "resume", "reason": None}]
    capsys.readouterr()


def test_a_resume_without_a_reason_names_the_flag(desk, capsys):
    desk.update(error="going back to work needs a reason", fix="scalpdesk resume --reason TEXT")
    assert main(["resume", "--reason", "", "--runs-dir", ".", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "--reason"
