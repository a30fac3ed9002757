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
META = "document.querySelector('.md-search-result__meta').textContent"


def test_each_question_has_a_page_with_its_answer():
    assert len({question["ask"] for question in QUESTIONS}) >= 40
    for question in QUESTIONS:
        assert question["answer"] in (DOCS / question["page"]).read_text("utf-8"), question["ask"]


@pytest.mark.slow
@pytest.mark.enable_socket
@pytest.mark.skipif(CHROMIUM is None or not HOME.exists(), reason="no Chromium, or no site: make docs")
def test_the_search_of_the_site_finds_each_page_first():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    first = {}
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(HOME.as_uri())  # from the folder: without a server and without the network
        box = page.locator("input.md-search__input")
        box.click()
        for question in QUESTIONS:
            for words, answered in (("", "Type"), (question["search"], "match")):
                box.fill(words)
                box.press("End")  # the theme reads the box when a key comes up
                page.wait_for_function(f"{META}.includes('{answered}')")
            link = page.locator(".md-search-result__item a").first.get_attribute("href")
            first[question["ask"]] = link.partition("?")[0].partition("#")[0].removesuffix(".html")
        browser.close()
    lost = {q["ask"]: first[q["ask"]] for q in QUESTIONS if not first[q["ask"]].endswith(q["page"][:-3])}
    assert lost == {}
