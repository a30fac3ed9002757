"""A folder trading through whole runs: in process, isolated, failing; and the replay that needs no folder."""

import json
import shutil
from pathlib import Path

import pytest

from scalpdesk.backtesting.runs import replay, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.intents import AskFolder, Decision
from scalpdesk.journal.reader import JournalReader
from scalpdesk.strategies.registry import start_helper
from scalpdesk_strategies.isolation.answering import FolderAnswerer
from scalpdesk_strategies.isolation.process import FolderLimits
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.folders import event, folder
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder

SCALPER = """
    payload, ts = event["payload"], event["ts"]
    def intent(kind, symbol, signed):
        return order_intent(event, kind=kind, strategy="scalper", symbol=symbol, qty=abs(signed),
                            side="buy" if signed > 0 else "sell", client_tag=kind)
    if "delta" in payload:
        deltas[event["symbol"]] = (payload["delta"], payload["quantity"] * payload["multiplier"])
        return None
    if len(deltas) < payload["picture_size"] - 1:
        return None
    shares = payload["position_shares"] + payload["pending_shares"]
    held = {symbol: units for symbol, (_, units) in deltas.items() if units}
    if ts >= "2024-03-04T20:45":
        return [intent("exit", symbol, -units / 100) for symbol, units in held.items()] + (
            [intent("exit", "SPY", -shares)] if shares else [])
    if not held:
        return intent("entry", "SPY240419C00500000", 2) if not done else None
    done.append(1)
    net = sum(delta * units for delta, units in deltas.values()) + shares
    return intent("hedge", "SPY", -round(net)) if abs(net) > 5 else None
"""
BEFORE = "from scalpdesk.protocol import order_intent\ndeltas = {}\ndone = []\n"


def day(steps=40):
    builder = TapeBuilder(straddle_book(500))
    builder.path("10:00", 30, [500.0 + ((step * 7) % 11 - 5) for step in range(steps)])
    return builder.path("15:44:50", 5, [500.5, 500.6, 500.7, 500.8, 500.9, 501.0]).build()


def run(tmp_path, made, *overrides, journal=True, tape=None):
    limits = ("chain_contracts=2", "simulation.starting_cash=1000000")
    settings = load_settings("external", overrides=[f"folder={made}", *limits, *overrides], cwd=tmp_path)
    runs = tmp_path / "runs" if journal else None
    return run_backtest(settings, tape or day(), ManualClock(1), runs_dir=runs)


def decided(run_dir):
    return [
        one for _, outputs in JournalReader(run_dir).steps() for one in outputs if isinstance(one, Decision)
    ]


def test_a_day_from_entry_to_exit(tmp_path):
    result = run(tmp_path, folder(tmp_path, SCALPER, before=BEFORE))
    summary = result.summary
    taken = [one.kind for one in decided(result.run_dir) if one.taken and one.kind != "session"]
    assert taken[0] == "entry"
    assert taken.count("hedge") > 5
    assert taken[-2:] == ["exit", "exit"]
    assert summary["end_positions"] == {}
    told, *others = decided(result.run_dir)
    assert (told.kind, told.facts["shares_as_position"]) == ("session", "false")  # it reads position_shares
    assert all(one.facts["client_tag"] in ("entry", "hedge", "exit") for one in others)


def test_in_process_isolated_and_replayed_decide_the_same(tmp_path):
    made = folder(tmp_path, SCALPER, before=BEFORE)
    isolated = run(tmp_path, made)
    here = run(tmp_path, made, "isolate=false")
    first, second = decided(isolated.run_dir), decided(here.run_dir)
    assert [(one.kind, one.facts, one.reasons) for one in first] == [
        (one.kind, one.facts, one.reasons) for one in second
    ]
    shutil.rmtree(made)
    verdict = replay(isolated.run_dir)
    assert verdict.difference is None
    assert verdict.identical
    digests = [JournalReader(one.run_dir).header.data["folder_sha256"] for one in (isolated, here)]
    assert digests[0] == digests[1]
    assert verdict.summary["decision_hash"] == isolated.summary["decision_hash"]


def test_two_runs_have_one_decision_hash(tmp_path):
    made = folder(tmp_path, SCALPER, before=BEFORE)
    one, other = (run(tmp_path, made, journal=False).summary["decision_hash"] for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    "fault", ["raise ValueError('odd')", "while True: pass", "os._exit(3)", "bytearray(1 << 45)"]
)
def test_a_fault_costs_its_event_and_the_desk_goes_on(tmp_path, fault):
    body = f"""
    flag = Path(os.environ["TMPDIR"], "happened")
    if ts_of(event) > "2024-03-04T15:02" and not flag.exists():
        flag.touch()
        {fault}
    """
    before = BEFORE + "import os\nfrom pathlib import Path\ndef ts_of(event): return event['ts']\n"
    made = folder(tmp_path, body + SCALPER, before=before)
    result = run(tmp_path, made, "time_limit_seconds=1")
    said = [one for one in decided(result.run_dir) if "failures" in one.facts]
    assert len(said) == 1
    assert result.summary["folder"]["failures"] == 1
    assert result.summary["folder"]["answers"] == result.summary["folder"]["requests"]
    assert result.summary["hedges"] > 5
    assert result.summary["end_positions"] == {}
    assert replay(result.run_dir).identical


def test_a_folder_that_always_dies_leaves_a_desk_that_does_nothing(tmp_path):
    made = folder(tmp_path, "os._exit(1)", before="import os")
    result = run(tmp_path, made, tape=day(steps=30))
    assert result.summary["orders"] == 0
    said = [reason for one in decided(result.run_dir) for reason in one.reasons]
    assert any("ended 20 times; it is given up" in reason for reason in said)
    assert result.summary["verdict"].startswith("no trade: the strategy folder failed ")
    assert "it is given up" in result.summary["folder"]["last_failure"]


def test_a_folder_that_is_refused_every_time_is_no_folder_that_never_asked(tmp_path):
    made = folder(tmp_path, "return {'type': 'order_intent'}")
    result = run(tmp_path, made, tape=day(steps=30))
    assert result.summary["verdict"].endswith("was refused, the last one refused: missing:protocol")
    quiet = run(tmp_path, folder(tmp_path, "return None"), tape=day(steps=30))
    assert quiet.summary["verdict"] == "no trade: the strategy never asked for one"


@pytest.mark.parametrize("strategy", ["external", "st0cka+external"])
def test_a_run_without_a_folder_is_refused_before_anything_begins(strategy):
    with pytest.raises(ConfigError, match="no strategy folder is given"):
        start_helper(strategy, {"external": {}}, Path("runs"))
    assert start_helper("st0cka", {}, Path("runs")) is None


def test_a_folder_that_is_not_there_is_refused_before_the_run(tmp_path):
    with pytest.raises(ConfigError, match=r"no strategy\.py here"):
        run(tmp_path, tmp_path / "nowhere")
    assert not (tmp_path / "runs").exists()


def ask(*names):
    return AskFolder(5, tuple(json.dumps(event(name)) for name in names), "me")


def test_an_answer_gathers_the_replies_of_a_request(tmp_path):
    body = "if event['event_id'] == 'b': raise KeyError('b')\nreturn {'id': event['event_id']}"
    answerer = FolderAnswerer(folder(tmp_path, body), FolderLimits())
    try:
        answer = answerer.answer(ask("a", "b", "c"), 99)
    finally:
        answerer.close()
    assert (answer.request, answer.owner, answer.ts_event_ns, answer.ts_recv_ns) == (5, "me", 99, 99)
    assert answer.messages == ('{"id":"a"}', '{"id":"c"}')
    assert answer.failures == ("event b: KeyError: 'b' (strategy.py:4)",)
    assert not answer.state_lost
    assert answer.took_us > 0
