"""The list of sockets: its page, its groups, and the product's own plug-ins, which keep the contracts."""

import json
import re

import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.plugins import Socket
from scalpdesk.core.sockets import SOCKETS
from scalpdesk_testing.kit.packages import install_points
from tests.docs.pages import DOCS

PAGES = DOCS / "developing"
ROW = re.compile(r"^\| ([\w ]+) \| `(scalpdesk\.\w+)` \| `([\w.:]+)` \|", re.MULTILINE)


def test_the_page_lists_every_socket_with_a_page_that_exists():
    rows = ROW.findall((PAGES / "sockets.md").read_text("utf-8"))
    assert rows == [(each.kind, each.group, each.contract) for each in SOCKETS]
    assert all((PAGES / each.page).is_file() for each in SOCKETS)
    assert len({each.group for each in SOCKETS}) == len(SOCKETS)


def test_each_group_of_the_pages_is_a_socket():
    named = {
        group
        for page in PAGES.glob("*.md")
        for group in re.findall(r'entry-points."(scalpdesk\.\w+)"', page.read_text("utf-8"))
    }
    assert named <= {each.group for each in SOCKETS}


@pytest.mark.rows("socket", SOCKETS)
def test_the_products_own_plug_ins_keep_the_contract(socket: Socket):
    for name in socket.own_names():
        socket.check(socket.find(name), name, socket.where)


def test_plugins_lists_a_refused_plug_in_with_its_reason_and_all_others(tmp_path, monkeypatch, capsys):
    points = {
        "scalpdesk.hedge_bands": {"broken": "scalpdesk_testing.kit.desk:Scripted"},
        "scalpdesk.cards": {"gone": "nowhere:X"},
    }
    install_points(tmp_path, "bad-parts", points)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["plugins", "--json"]) == 1
    found = {each["kind"]: each["plugins"] for each in json.loads(capsys.readouterr().out)["sockets"]}
    assert len(found) == len(SOCKETS)
    bands = {each["name"]: each for each in found["hedge band"]}
    assert bands["fixed"]["problem"] is None
    assert bands["broken"]["distribution"] == "bad-parts 0.1.0"
    assert "it has no judge" in bands["broken"]["problem"]["what"]
    assert found["dashboard card"][0]["problem"]["what"].endswith("No module named 'nowhere'")
    assert main(["plugins"]) == 1
    shown = capsys.readouterr()
    assert "whalley_wilmott" in shown.out
    assert "it has no judge" in shown.err
