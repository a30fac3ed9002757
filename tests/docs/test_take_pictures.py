"""The pictures of the pages: each page of the dashboard has one, in both schemes, and a page shows each."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"(?:srcset=\"|src=\"|\]\()([^\")\s]*pictures/[^\")\s]+)")
IN_BOTH = re.compile(
    r"<picture><source [^>]*srcset=\"([^\"]+)-dark\.png\"><img [^>]*src=\"([^\"]+)-light\.png\">"
)


def test_pages_show_pictures_that_exist_and_each_in_both_schemes():
    shown = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        text = page.read_text("utf-8")
        shown |= {(page.parent / target).resolve() for target in NAMED.findall(text)}
        assert [dark for dark, light in IN_BOTH.findall(text) if dark != light] == []
        assert len(IN_BOTH.findall(text)) == text.count("<picture>"), page
    assert shown == set((ROOT / "docs" / "pictures").iterdir())


def test_every_page_of_the_dashboard_has_a_picture_and_every_picture_its_files(take_pictures):
    page = (ROOT / "src" / "scalpdesk" / "web" / "static" / "index.html").read_text("utf-8")
    pages = set(re.findall(r'<a href="[^"]+" data-page="(\w+)"', page))
    assert pages == {picture.page for picture in take_pictures.PICTURES} - {""}
    files = {file for picture in take_pictures.PICTURES for file in picture.files.values()}
    drawn = set(take_pictures.FOLDER.glob("*.svg"))
    assert files | drawn == set(take_pictures.FOLDER.iterdir())
    sizes = [file.stat().st_size for file in files]
    assert max(sizes) <= take_pictures.MOST_BYTES
    assert sum(sizes) <= take_pictures.MOST_BYTES_IN_ALL
