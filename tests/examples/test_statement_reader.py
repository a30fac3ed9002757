"""The package of docs/developing/add_a_statement_reader.md, built from the page: its broker is reconciled."""

import json
import sys

import pytest

from scalpdesk.accounting.statements import StatementSpec
from scalpdesk.cli.main import main
from scalpdesk.core.sockets import STATEMENTS
from scalpdesk_testing.kit.journaled_run import SHARE, Run
from tests.docs.pages import DOCS, install_page

HEAD = "time,execution,symbol,units,price,fee"
BOUGHT, SOLD = "2024-03-04 10:00:02,x1,KO,10,60.00,0.35", "2024-03-04 10:00:04,x2,KO,-10,60.50,0.35"


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    install_page(DOCS / "developing" / "add_a_statement_reader.md", tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    for module in [name for name in sys.modules if name.partition(".")[0] == "corner_broker"]:
        del sys.modules[module]


def reconciled(tmp_path, capsys, *lines, broker="corner"):
    (tmp_path / "statement.csv").write_text("\n".join(lines), encoding="utf-8")
    words = [str(tmp_path / "statement.csv"), "--broker", broker, "--run", "a", "--json"]
    code = main(["reconcile", *words, "--runs-dir", str(tmp_path / "runs")])
    return code, json.loads(capsys.readouterr().out)


def test_a_reader_in_one_file_is_a_broker_of_the_command(tmp_path, capsys):
    run = Run(tmp_path / "runs", "a")
    run.fill(SHARE, "buy", 10, "60.00", "0.35")
    run.fill(SHARE, "sell", 10, "60.50", "0.35")
    run.end()
    code, document = reconciled(tmp_path, capsys, HEAD, BOUGHT, SOLD)
    assert (code, document["counts"]) == (0, {"agrees": 2})
    code, document = reconciled(tmp_path, capsys, HEAD, BOUGHT, "and so on")
    assert (code, document["counts"]) == (1, {"agrees": 1, "only in the journal": 1})
    assert document["unread"] == ["line 3: and so on"]
    assert reconciled(tmp_path, capsys, "something else")[0] == 2


def test_the_brokers_of_the_venues_are_found_by_name():
    assert STATEMENTS.names() == ("alpaca", "corner", "deribit", "ibkr")
    assert all(STATEMENTS.find_spec(StatementSpec, name).name == name for name in STATEMENTS.names())


def test_a_broker_that_nobody_reads_is_named(tmp_path, capsys):
    code, document = reconciled(tmp_path, capsys, HEAD, broker="ibrk")
    assert (code, document["error"]["nearest"]) == (2, "ibkr")
