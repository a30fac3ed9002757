"""Reports for agents, asked by the protocol's own client over the program's stdin and stdout."""

import json
import os
import sys

import anyio
import pytest

from scalpdesk.cli.main import main
from scalpdesk.cli.mcp import CommandTools, shortened

pytestmark = pytest.mark.second

mcp = pytest.importorskip("mcp", reason='mcp is not installed: pip install "scalpdesk[mcp]"')
from mcp.client.session import ClientSession  # noqa: E402 - after the check
from mcp.client.stdio import StdioServerParameters, stdio_client  # noqa: E402

WORDS = ("backtest", "gamma-scalper", "--start", "2018-02-05", "--set", "entry.gate=advise")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    assert main([*WORDS, "--set", f"desk.runs_dir={folder}"]) == 0
    return folder


def asked(runs, *calls):
    """Return the names of the tools, and the documents that a client is given."""
    command = ["-m", "scalpdesk", "mcp", "--runs-dir", str(runs)]
    server = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))

    async def ask():
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            tools = (await session.list_tools()).tools
            answers = [await session.call_tool(name, arguments) for name, arguments in calls]
            return tools, [json.loads(each.content[0].text) for each in answers]

    return anyio.run(ask)


def test_a_client_reads_what_a_person_reads_and_finds_nothing_that_trades(runs, document_of):
    tools, (listed, report, why, refused, halted) = asked(
        runs,
        ("list_runs", {}),
        ("report", {"run": "last"}),
        ("decisions", {"run": "last"}),
        ("report", {"run": "--html=/tmp/x"}),
        ("halt", {"reason": "a drill"}),
    )
    reads = {each.name for each in tools if each.annotations.read_only_hint}
    assert {each.name for each in tools} - reads == {"halt"}
    assert not {"resume", "arm", "run", "flatten", "backtest"} & {each.name for each in tools}
    own = document_of("report", "last", "--runs-dir", str(runs))
    assert report["pnl"] == own["pnl"]
    assert len(listed["rows"] if "rows" in listed else listed["runs"]) == 1
    assert "error" not in why
    assert refused["error"]["value"] is not None
    assert "error" in halted  # no desk runs here


def test_long_lists_say_how_much_is_left_out():
    found = shortened({"rows": list(range(1_000)), "few": [[1] * 41]})
    assert found["rows"][:2] == [0, 1]
    assert found["rows"][20] == {"left_out": 960}
    assert found["rows"][-1] == 999
    assert found["few"][0][20] == {"left_out": 1}


@pytest.mark.second
def test_what_an_agent_names_is_never_an_option(runs):
    found = CommandTools(str(runs)).risk(run="--coverage")
    assert found["error"]["what"]
