"""Questions of traders and engineers: the page that answers each, found first by the site's own search.

The search is slow, and skipped without Chromium or a built site (``make docs``); ``.ci/run`` runs it.
"""

import shutil
import tomllib
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
HOME = DOCS.parent / "build" / "site" / "index.html"
QUESTIONS = tomllib.loads((Path(__file__).parent / "questions.toml").read_text("utf-8"))["question"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
STRANGERS = tomllib.loads((Path(__file__).parent / "strangers.toml").read_text("utf-8"))["question"]
LEAST_FOUND = 0.8
"""Share of what strangers type whose page is the first found."""
META = "document.querySelector('.md-search-result__meta').textContent"


def test_each_question_has_a_page_with_its_answer():
    assert len({question["ask"] for question in QUESTIONS}) >= 40
    for question in QUESTIONS:
        assert question["answer"] in (DOCS / question["page"]).read_text("utf-8"), question["ask"]


NEEDS = pytest.mark.skipif(CHROMIUM is None or not HOME.exists(), reason="no Chromium, or no site: make docs")


@pytest.fixture(scope="module")
def search():
    """Return the first page that the site's own search lists for some words."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(HOME.as_uri())  # from the folder: without a server and without the network
        box = page.locator("input.md-search__input")
        box.click()

        def first(words):
            for typed, answered in (("", "Type"), (words, "match")):
                box.fill(typed)
                box.press("End")  # the theme reads the box when a key comes up
                page.wait_for_function(f"{META}.includes('{answered}')")
            found = page.locator(".md-search-result__item a").first
            link = found.get_attribute("href") if found.count() else ""
            return link.partition("?")[0].partition("#")[0].removesuffix(".html")

        yield first
        browser.close()


@pytest.mark.slow
@pytest.mark.enable_socket
@NEEDS
def test_the_search_of_the_site_finds_each_page_first(search):
    first = {question["ask"]: search(question["search"]) for question in QUESTIONS}
    lost = {q["ask"]: first[q["ask"]] for q in QUESTIONS if not first[q["ask"]].endswith(q["page"][:-3])}
    assert lost == {}


@pytest.mark.slow
@pytest.mark.enable_socket
@NEEDS
def test_what_a_stranger_types_finds_its_page_first(search):
    lost = {q["ask"]: found for q in STRANGERS if not (found := search(q["ask"])).endswith(q["page"][:-3])}
    assert len(lost) <= (1 - LEAST_FOUND) * len(STRANGERS), lost
