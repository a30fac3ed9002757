"""The package of docs/developing/add_an_importer.md, built from the page: its command imports a file."""

import json
import sys

import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.sockets import DOWNLOADERS, IMPORTERS, RECORDERS
from scalpdesk.data_sources.contract import (
    DownloaderSpec,
    ImporterSpec,
    RecorderSpec,
)
from tests.docs.pages import DOCS, install_page

LINES = ["made on 2018-02-05"] + [
    f"SPY|2018-02-05 09:{minute}|{price}|{price + 0.5}|{price - 0.5}|{price + 0.25}|1000"
    for minute, price in ((31, 273.5), (32, 274.0), (33, 273.75))
]


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    install_page(DOCS / "developing" / "add_an_importer.md", tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    yield
    for module in [name for name in sys.modules if name.partition(".")[0] == "piped_bars"]:
        del sys.modules[module]


def test_a_format_in_one_file_is_a_command_with_its_flags(tmp_path, capsys):
    (tmp_path / "spy.txt").write_text("\n".join(LINES))
    assert main(["data", "import", "piped", "spy.txt", "--skip", "1", "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["data_sets"]
    assert (report["name"], report["rows_total"]) == ("piped", 3)
    assert main(["data", "ls", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["data_sets"]}
    assert (rows["piped"]["underlying"], rows["piped"]["bar_seconds"]) == ("SPY", 60)
    assert (rows["piped"]["first"], rows["piped"]["rows"]) == ("2018-02-05", 3)
    assert main(["data", "import", "piped", "spy.txt"]) == 2
    assert "spy.txt:1" in capsys.readouterr().err
    assert main(["data", "import", "piped", "spy.txt", "--skip", "-1"]) == 2


def test_sources_are_found_by_name_and_kind():
    own = ("cboe", "chain", "csv", "databento", "deribit", "lean", "parquet", "polygon", "thetadata")
    assert IMPORTERS.names() == tuple(sorted((*own, "piped")))
    assert all(IMPORTERS.find_spec(ImporterSpec, name).name == name for name in own)
    assert DOWNLOADERS.names() == RECORDERS.names() == ("alpaca", "deribit")
    assert RECORDERS.find_spec(RecorderSpec, "deribit").is_raw
    assert DOWNLOADERS.find_spec(DownloaderSpec, "alpaca").name == "alpaca"
    assert main(["data", "import", "pipd", "x"]) == 2
