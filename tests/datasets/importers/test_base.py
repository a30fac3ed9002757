import io
import zipfile

import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.importers import base
from scalpdesk.datasets.importers.base import (
    ImportReport,
    open_archive,
    read_members,
    write_numbered_lines,
)


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "day.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("folder/", "")
        out.writestr("a.csv", "1,2\n")
        out.writestr("b.csv", "x" * 5000)
    return path


def test_members_come_with_their_content_and_folders_are_left_out(archive):
    with open_archive(archive) as opened:
        assert [(name, len(content)) for name, content in read_members(opened)] == [
            ("a.csv", 4),
            ("b.csv", 5000),
        ]


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_MEMBERS", 2, "3 members; at most 2"),
        ("MAX_MEMBER_BYTES", 4999, "a member unpacks to more than 4999"),
        ("MAX_ARCHIVE_BYTES", 5003, "it unpacks to more than 5003"),
    ],
)
def test_a_zip_beyond_bounds_is_refused_before_it_is_unpacked(archive, monkeypatch, limit, value, message):
    monkeypatch.setattr(base, limit, value)
    with pytest.raises(DataError, match=message) as refused:
        open_archive(archive)
    assert refused.value.where == str(archive)


def test_a_member_with_flipped_bytes_is_named(archive):
    content = bytearray(archive.read_bytes())
    at = content.index(b"1,2\n") if b"1,2\n" in content else content.index(b"b.csv") + 6
    content[at] ^= 0xFF
    archive.write_bytes(bytes(content))
    with open_archive(archive) as opened, pytest.raises(DataError, match="cannot be read") as refused:
        list(read_members(opened))
    assert str(archive) in refused.value.where


def test_an_encrypted_zip_is_refused(archive):
    content = bytearray(archive.read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + 8] |= 0x1  # general purpose flag: encrypted
    archive.write_bytes(bytes(content))
    with pytest.raises(DataError, match="encrypted"):
        open_archive(archive)


def test_every_line_carries_its_members_number_and_empty_ones_go():
    out = io.BytesIO()
    write_numbered_lines(out, 7, b"1,2\r\n\r\n3,4\n")
    assert out.getvalue() == b"7,1,2\n7,3,4\n"


def test_a_report_adds_up_and_keeps_a_note_once():
    report = ImportReport("lean", files_read=2)
    report.add("quotes", "XYZ", 3)
    report.add("quotes", "XYZ", 4)
    report.note("odd")
    report.note("odd")
    assert report.as_dict() == {
        "name": "lean",
        "files_read": 2,
        "rows": {"quotes/XYZ": 7},
        "rows_total": 7,
        "unreadable": [],
        "notes": ["odd"],
    }
