import json
import os
import random
import select
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import scalpdesk
from scalpdesk.core.errors import ConfigError, StopError
from scalpdesk.pricing.kernels.compiling import ChosenFolder
from scalpdesk_strategies.isolation.folder import MOST_MESSAGES
from scalpdesk_strategies.isolation.process import FolderLimits, FolderProcess
from scalpdesk_testing.kit.folders import BUY_ONE, event, folder

QUICK = FolderLimits(time_limit_seconds=1.0, kill_after_seconds=1.0)
COUNTING = "seen = []"


def events(*kinds):
    return [event(f"evt_{number}", kind=kind) for number, kind in enumerate(kinds)]


def test_replies_come_in_order_whatever_the_window(tmp_path):
    asked = [event(f"evt_{number}") for number in range(1_000)]
    with FolderProcess(folder(tmp_path, BUY_ONE)) as process:
        for window in (1, 7, 256):
            replies = list(process.ask_all(asked, window=window))
            assert [one.messages[0]["event_id"] for one in replies] == [one["event_id"] for one in asked]
        assert process.restarts == 0


def test_large_events_and_large_replies_cannot_block_one_another(tmp_path):
    asked = [event(f"evt_{number}", text="x" * 100_000) for number in range(100)]
    with FolderProcess(folder(tmp_path, "return {'text': event['payload']['text']}")) as process:
        for reply in process.ask_all(asked):
            assert len(reply.messages[0]["text"]) == 100_000


def test_an_exception_ends_its_event_and_nothing_else(tmp_path):
    body = """
        seen.append(1)
        if event["payload"]["kind"] == "bad":
            raise ValueError("no\\nmore")
        return {"seen": len(seen)}
    """
    with FolderProcess(folder(tmp_path, body, before=COUNTING)) as process:
        replies = list(process.ask_all(events("ok", "bad", "ok")))
    assert [one.messages for one in replies] == [[{"seen": 1}], [], [{"seen": 3}]]
    assert replies[1].failure == "ValueError: no (strategy.py:6)"
    assert not any(one.state_lost for one in replies)


def test_an_endless_loop_is_interrupted_and_the_state_kept(tmp_path):
    body = """
        seen.append(1)
        while event["payload"]["kind"] == "loop":
            pass
        return {"seen": len(seen)}
    """
    patient = FolderLimits(time_limit_seconds=1.0, kill_after_seconds=60.0)
    with FolderProcess(folder(tmp_path, body, before=COUNTING), patient) as process:
        replies = list(process.ask_all(events("ok", "loop", "ok")))
        assert process.restarts == 0
    assert "took longer than 1 s" in replies[1].failure
    assert replies[2].messages == [{"seen": 3}]


def test_a_loop_that_swallows_its_interruption_is_ended(tmp_path):
    body = """
        seen.append(1)
        while event["payload"]["kind"] == "loop":
            try:
                while True:
                    pass
            except BaseException:
                pass
        return {"seen": len(seen)}
    """
    with FolderProcess(folder(tmp_path, body, before=COUNTING), QUICK) as process:
        replies = list(process.ask_all(events("ok", "loop", "ok", "ok")))
        assert process.restarts == 1
    assert "its process was ended and its state is lost" in replies[1].failure
    assert replies[1].state_lost
    assert [one.messages for one in replies[2:]] == [[{"seen": 1}], [{"seen": 2}]]


@pytest.mark.parametrize(
    ("last_act", "said"),
    [
        ("os._exit(7)", "exit code 7"),
        ("os.kill(os.getpid(), 9)", "by signal 9"),
        ("os.close(0); os.close(1); os._exit(0)", "exit code 0"),
    ],
)
def test_a_process_that_dies_is_begun_again(tmp_path, last_act, said):
    body = f"""
        seen.append(1)
        if event["payload"]["kind"] == "die":
            {last_act}
        return {{"seen": len(seen)}}
    """
    with FolderProcess(folder(tmp_path, body, before="import os\n" + COUNTING), QUICK) as process:
        replies = list(process.ask_all(events("ok", "die", "ok")))
        assert process.restarts == 1
        assert said in replies[1].failure
        assert [one.messages for one in replies] == [[{"seen": 1}], [], [{"seen": 1}]]
        assert process.ask(event("evt_9", kind="ok")).messages == [{"seen": 2}]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is the system's")
def test_one_large_wish_for_memory_is_a_failure_of_its_event(tmp_path):
    body = """
        seen.append(1)
        if event["payload"]["kind"] == "large":
            bytearray(1 << 40)
        return {"seen": len(seen)}
    """
    limits = FolderLimits(time_limit_seconds=20)
    with FolderProcess(folder(tmp_path, body, before=COUNTING), limits) as process:
        replies = list(process.ask_all(events("ok", "large", "ok")))
        assert process.restarts == 0
    assert replies[1].failure.startswith("MemoryError")
    assert replies[2].messages == [{"seen": 3}]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is the system's")
def test_a_folder_that_fills_its_memory_is_begun_again(tmp_path):
    body = """
        seen.append(1)
        while event["payload"]["kind"] == "hoard":
            seen.append(bytearray(1 << 20))
        return {"seen": len(seen)}
    """
    limits = FolderLimits(time_limit_seconds=20.0, memory_limit_mb=256)
    with FolderProcess(folder(tmp_path, body, before=COUNTING), limits) as process:
        replies = list(process.ask_all(events("ok", "hoard", "ok")))
        assert process.restarts == 1
    assert replies[1].failure.startswith("MemoryError")
    assert replies[1].state_lost
    assert replies[2].messages == [{"seen": 1}]


def test_a_folder_that_always_dies_is_given_up(tmp_path):
    limits = FolderLimits(max_restarts=2)
    with FolderProcess(folder(tmp_path, "os._exit(1)", before="import os"), limits) as process:
        for _ in range(3):
            assert process.ask(event()).state_lost
        with pytest.raises(StopError, match="ended 2 times"):
            process.ask(event())


def test_a_folder_that_cannot_be_loaded_again_fails_its_events(tmp_path):
    before = """
        import os
        from pathlib import Path
        flag = Path(os.environ["TMPDIR"], "loaded")
        if flag.exists():
            raise ValueError("the second time")
        flag.touch()
    """
    limits = FolderLimits(max_restarts=3)
    with FolderProcess(folder(tmp_path, "os._exit(1)", before=before), limits) as process:
        first, *rest = [process.ask(event()) for _ in range(4)]
        assert "exit code 1" in first.failure
        assert all("the second time" in one.failure for one in rest)
        with pytest.raises(StopError):
            process.ask(event())


def test_what_it_prints_never_meets_the_replies(tmp_path, capfd):
    body = """
        print("to stdout")
        os.write(1, b"raw")
        sys.stdin.read()
        return {"ok": True}
    """
    with FolderProcess(folder(tmp_path, body, before="import os, sys")) as process:
        assert process.ask(event()).messages == [{"ok": True}]
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == "to stdout\nraw"


def test_writing_to_the_desks_line_ends_the_process(tmp_path):
    body = """
        for descriptor in range(3, 20):
            try:
                os.write(descriptor, b"\\xff" * 64)
            except OSError:
                pass
    """
    with FolderProcess(folder(tmp_path, body, before="import os"), QUICK) as process:
        reply = process.ask(event())
        assert reply.state_lost
        assert "wrote to the desk's line" in reply.failure


def test_only_the_interpreters_names_and_those_that_a_folder_names_are_handed_on_and_never_a_key(tmp_path):
    given = {
        "PATH": os.environ["PATH"],
        "HEDGING_THRESHOLD": "0.2",
        "GEX_VALUE": "-1",
        "EXIT_TIME_ET": "15:30",
        "AWS_SECRET_ACCESS_KEY": "s",
        "HOME": "/root",
        "TRADING_API_KEY": "k",
        "TRADING_API_SECRET": "s",
        "ST0CKAKEY": "k",
        "ST0CKASECRET": "s",
        "SCALPDESK_CREDENTIALS__TRADING_API_KEY": "k",
    }
    reads = "import os\nat = os.environ.get('EXIT_TIME_ET'), os.environ.get('ST0CKAKEY')"
    made = folder(tmp_path, "return {'names': sorted(os.environ)}", before=reads)
    (made / "config.example.env").write_text(
        "# its settings\nHEDGING_THRESHOLD=0.15\n#GEX_VALUE=\nTRADING_API_KEY=\nST0CKASECRET=\n"
        "SCALPDESK_CREDENTIALS__TRADING_API_KEY=\n"
    )
    with FolderProcess(made, environ=given) as process:
        names = process.ask(event()).messages[0]["names"]
    own = {"HOME", "TMPDIR", "NUMBA_CACHE_DIR", "LC_CTYPE"}
    assert set(names) - own == {"PATH", "HEDGING_THRESHOLD", "GEX_VALUE", "EXIT_TIME_ET"}


@pytest.mark.parametrize("setting", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME"])
def test_it_has_the_compiled_kernels_wherever_the_desk_keeps_them(tmp_path, monkeypatch, setting):
    """In a container and beside a read-only installation: compiling them would exceed an event's time."""
    body = "return {'names': [path.name for path in Path(os.environ['NUMBA_CACHE_DIR']).glob('kernels_*/*')]}"
    made = folder(tmp_path, body, before="import os\nfrom pathlib import Path")
    kernels = Path(scalpdesk.__file__).parent / "pricing" / "kernels" / "normal.py"
    name = ChosenFolder.get_suitable_cache_subpath(str(kernels))
    kept = tmp_path / "kept" / ("numba" if setting == "XDG_CACHE_HOME" else "") / name
    kept.mkdir(parents=True)
    for file in ("rule-kernel.py311.nbi", "rule-kernel.py311.1.nbc", "else.txt"):
        (kept / file).touch()
    monkeypatch.setenv(setting, str(tmp_path / "kept"))
    with FolderProcess(made) as process:
        names = set(process.ask(event()).messages[0]["names"])
    assert {"rule-kernel.py311.nbi", "rule-kernel.py311.1.nbc"} <= names
    assert "else.txt" not in names


def test_a_folder_that_cannot_be_loaded_is_refused_at_once(tmp_path):
    (tmp_path / "strategy.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="nothing_of_this_name"):
        FolderProcess(tmp_path)
    (tmp_path / "strategy.py").write_text("import os\nos._exit(4)\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="exit code 4"):
        FolderProcess(tmp_path)


def test_an_answer_under_way_can_be_cut_short(tmp_path):
    body = """
        while event["payload"]["kind"] == "loop":
            pass
    """
    limits = FolderLimits(time_limit_seconds=60.0)
    with FolderProcess(folder(tmp_path, body), limits) as process, ThreadPoolExecutor(1) as pool:
        work = pool.submit(lambda: list(process.ask_all(events("loop", "ok"))))
        process.abort()
        with pytest.raises(StopError, match="ended by the desk"):
            work.result()


@pytest.mark.parametrize("window", [1, 16])
def test_a_long_sequence_of_faults_loses_no_event_and_repeats_none(tmp_path, window):
    body = """
        kind = event["payload"]["kind"]
        seen.append(event["event_id"])
        if kind == "raise":
            raise KeyError(kind)
        if kind == "exit":
            os._exit(2)
        if kind == "kill":
            os.kill(os.getpid(), 9)
        return {"event": event["event_id"], "first": seen[0]}
    """
    rng = random.Random(11)
    kinds = [rng.choice(["ok"] * 12 + ["raise", "exit", "kill"]) for _ in range(48)]
    limits = FolderLimits(max_restarts=1_000)
    asked = events(*kinds)
    with FolderProcess(folder(tmp_path, body, before="import os\n" + COUNTING), limits) as process:
        replies = list(process.ask_all(asked, window=window))
        # the last one may have ended it: then it has not begun again
        assert process.restarts == sum(one.state_lost for one in replies[:-1])
    assert len(replies) == len(asked)
    first = asked[0]["event_id"]
    for one, kind, reply in zip(asked, kinds, replies, strict=True):
        assert (reply.failure is None) == (kind == "ok")
        assert reply.state_lost == (kind in ("exit", "kill"))
        if kind == "ok":
            assert reply.messages == [{"event": one["event_id"], "first": first}]
        if reply.state_lost:
            first = f"evt_{int(one['event_id'][4:]) + 1}"


@pytest.mark.skipif(sys.platform != "linux", reason="there the system ends it")
def test_it_ends_with_a_desk_that_is_killed(tmp_path):
    body = """
        Path(os.environ["TMPDIR"], "pid").write_text(str(os.getpid()))
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass
    """
    made = folder(tmp_path, body, before="import os\nfrom pathlib import Path")
    desk = f"""
from pathlib import Path
from scalpdesk_strategies.isolation.process import FolderLimits, FolderProcess
process = FolderProcess(Path({str(made)!r}), FolderLimits(time_limit_seconds=60.0))
print("ready", flush=True)
process.ask({event()!r})
"""
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    running = subprocess.Popen([sys.executable, "-c", desk], stdout=subprocess.PIPE, env=environ)
    assert running.stdout.readline() == b"ready\n"
    (scratch,) = tmp_path.glob("scalpdesk-folder-*")
    pid = scratch / "pid"
    while not (pid.exists() and pid.read_text()):
        assert running.poll() is None
    handle = os.pidfd_open(int(pid.read_text()))
    running.kill()
    running.wait()
    running.stdout.close()
    ended, _, _ = select.select([handle], [], [], 10.0)
    os.close(handle)
    assert ended


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
FORGED = """
    import os
    payload = event["payload"]["frame"].encode("latin-1")
    for number in range(3, 12):
        try:
            os.write(number, len(payload).to_bytes(4, "big") + payload)
        except OSError:
            pass
    return []
"""
"""Writes a frame of its own wherever the process can write."""


@pytest.fixture(scope="module")
def forger(tmp_path_factory):
    limits = FolderLimits(time_limit_seconds=1.0, kill_after_seconds=1.0, max_restarts=10_000)
    with FolderProcess(folder(tmp_path_factory.mktemp("forger"), FORGED), limits) as process:
        yield process


@settings(max_examples=12, deadline=None)
@given(st.binary(max_size=40) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
@example(b"{}")
@example(b'[[], null, "soon", false]')
@example(b"[[], null, -1, false]")
@example(b"[[], null, 18446744073709551616, false]")
@example(json.dumps([[0] * 1_001, None, 0, False]).encode())
def test_a_whole_frame_of_any_content_is_a_reply_or_the_end_of_its_process(forger, frame):
    reply = forger.ask(event("evt_1", frame=frame.decode("latin-1")))
    assert reply.failure is None or reply.state_lost
    assert len(reply.messages) <= MOST_MESSAGES
    forger._end()  # what it wrote beside this reply would answer the next event
