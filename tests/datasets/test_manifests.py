import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.manifests import (
    Coverage,
    Manifest,
    coverage_of,
    data_set_names,
    manifest_to_extend,
    read_manifest,
    save_manifest,
    update_manifest,
)
from scalpdesk.datasets.store import connect, day_file, write_table


def test_a_manifest_survives_the_disk(tmp_path):
    manifest = Manifest(
        name="mine",
        source="CSV file x.csv",
        underlyings={
            "XYZ": Coverage(type="equity", sessions=("2015-12-23",), instruments=3, rows=9, keys=("XYZ",))
        },
        notes=("odd",),
    )
    save_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path, "mine") == manifest
    assert manifest.rows == 9
    assert data_set_names(tmp_path) == ["mine"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["manifest.json"]


def test_a_manifest_of_another_format_is_refused(tmp_path):
    save_manifest(tmp_path, Manifest(name="mine", source="x", format=2))
    with pytest.raises(DataError, match="of format 2, this version reads 1"):
        read_manifest(tmp_path, "mine")


def test_a_set_is_extended_only_with_bars_of_its_length(tmp_path):
    assert manifest_to_extend(tmp_path, "mine", 60) is None
    save_manifest(tmp_path, Manifest(name="mine", source="x", bar_seconds=60))
    assert manifest_to_extend(tmp_path, "mine", 60) is not None
    with pytest.raises(DataError, match="bars of 60 s, these are of 1 s"):
        manifest_to_extend(tmp_path, "mine", 1)


ROWS = (
    "SELECT TIMESTAMPTZ '2015-12-23 14:31:00Z' AS ts, TIMESTAMPTZ '2015-12-23 14:30:00Z' AS bar_start, "
    "unnest(['XYZ', 'XYZ', 'ABC']) AS symbol"
)


def test_coverage_is_counted_from_the_files(tmp_path):
    write_table(connect(), ROWS, day_file(tmp_path, "mine", "quotes", "XYZ", "2015-12-23"))
    write_table(connect(), ROWS, day_file(tmp_path, "mine", "trades", "XYZ", "2015-12-24"))
    found = coverage_of(
        connect(), tmp_path, "mine", {"XYZ": "equity", "QQQ": "equity"}, {"XYZ": ["XYZ"], "QQQ": ["QQQ"]}
    )
    assert found == {
        "XYZ": Coverage(
            type="equity",
            sessions=("2015-12-23", "2015-12-24"),
            instruments=2,
            rows=6,
            keys=("XYZ",),
            tables={"quotes/XYZ": 3, "trades/XYZ": 3},
        )
    }


def test_an_update_keeps_what_was_there(tmp_path):
    for symbol in ("XYZ", "QQQ"):
        write_table(connect(), ROWS, day_file(tmp_path, "mine", "quotes", symbol, "2015-12-23"))
        update_manifest(
            connect(),
            tmp_path,
            "mine",
            source="x",
            bar_seconds=60,
            types={symbol: "equity"},
            keys={symbol: [symbol]},
            notes=["odd"],
        )
    manifest = read_manifest(tmp_path, "mine")
    assert sorted(manifest.underlyings) == ["QQQ", "XYZ"]
    assert manifest.notes == ("odd",)
