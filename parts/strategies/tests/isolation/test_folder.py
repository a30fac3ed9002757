import sys

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk_strategies.isolation.folder import Folder, FolderInProcess, folder_digest
from scalpdesk_testing.kit.folders import BUY_ONE, event, folder


def test_an_answer_is_what_the_folder_returns(tmp_path):
    reply = FolderInProcess(folder(tmp_path, BUY_ONE)).ask(event("evt_7"))
    assert [message["intent_id"] for message in reply.messages] == ["buy_evt_7"]
    assert reply.failure is None
    assert not reply.state_lost


@pytest.mark.parametrize(
    ("returned", "messages"),
    [("None", []), ("[]", []), ("{'a': 1}", [{"a": 1}]), ("({'a': 1},)", [{"a": 1}])],
)
def test_what_may_be_returned(tmp_path, returned, messages):
    assert FolderInProcess(folder(tmp_path, f"return {returned}")).ask(event()).messages == messages


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 5", "returned int"),
        ("return 'x'", "returned str"),
        ("return (x for x in ())", "returned generator"),
        ("return [object()]", "TypeError"),
        ("return ['\\ud800']", "UnicodeEncodeError"),
        ("return [{}] * 1001", "1001 messages"),
        ("return ['x' * 2_000_000]", "2000004 bytes"),
        ("a = []; a.append(a); return a", "RecursionError"),
        ("return event['payload']['nothing']", "KeyError: 'nothing' (strategy.py:4)"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def f(): f()\nf()", "RecursionError"),
    ],
)
def test_whatever_it_raises_is_a_failure_of_its_event(tmp_path, body, said):
    reply = FolderInProcess(folder(tmp_path, body)).ask(event())
    assert said in reply.failure
    assert reply.messages == []


def test_an_error_whose_text_raises_is_still_told(tmp_path):
    before = """
        class Odd(Exception):
            def __str__(self):
                raise ValueError
    """
    assert "Odd" in FolderInProcess(folder(tmp_path, "raise Odd()", before=before)).ask(event()).failure


def test_what_it_keeps_cannot_change_what_it_returned(tmp_path):
    made = folder(tmp_path, "kept.append({'n': len(kept)}); return kept", before="kept = []")
    asked = FolderInProcess(made)
    first = asked.ask(event())
    second = asked.ask(event())
    assert first.messages == [{"n": 0}]
    assert second.messages == [{"n": 0}, {"n": 1}]


def test_its_prints_go_to_stderr(tmp_path, capsys):
    FolderInProcess(folder(tmp_path, "print('hello')", before="print('loading')")).ask(event())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "loading\nhello\n"


def test_it_may_have_files_beside_it(tmp_path):
    made = folder(tmp_path, "return {'n': NUMBER}", before="from beside_it_only import NUMBER")
    (made / "beside_it_only.py").write_text("NUMBER = 7\n", encoding="utf-8")
    path = list(sys.path)
    assert FolderInProcess(made).ask(event()).messages == [{"n": 7}]
    assert sys.path == path


def test_reset_is_called_once_before_the_first_event(tmp_path):
    before = """
        calls = ["loaded"]
        def reset():
            calls.append("reset")
    """
    asked = FolderInProcess(folder(tmp_path, "return {'calls': calls}", before=before))
    asked.ask(event())
    assert asked.ask(event()).messages == [{"calls": ["loaded", "reset"]}]


def test_the_file_itself_may_be_named(tmp_path):
    made = folder(tmp_path, "return {}")
    assert Folder(made / "strategy.py").answer(event()) == [{}]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = ", "SyntaxError"),
        ("import nothing_of_this_name", "nothing_of_this_name"),
        ("raise SystemExit(2)", "SystemExit"),
        ("x = 1", "no function on_market_event"),
        ("on_market_event = 5", "no function on_market_event"),
        (
            "on_market_event = print\ndef reset(): raise OSError('no feed')",
            r"reset\(\) failed: OSError: no feed",
        ),
    ],
)
def test_a_folder_that_cannot_be_loaded_is_refused(tmp_path, source, said):
    (tmp_path / "strategy.py").write_text(source, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        Folder(tmp_path)


def test_the_digest_follows_the_code_and_nothing_else(tmp_path):
    made = folder(tmp_path, "return None")
    before = folder_digest(made)
    (made / "notes.txt").write_text("x", encoding="utf-8")
    assert folder_digest(made) == before == folder_digest(made / "strategy.py")
    (made / "rules.py").write_text("x = 1\n", encoding="utf-8")
    assert folder_digest(made) != before
    with pytest.raises(ConfigError):
        folder_digest(tmp_path / "nowhere")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no strategy\.py here"):
        Folder(tmp_path / "nowhere")
