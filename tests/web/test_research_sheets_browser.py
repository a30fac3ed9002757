"""The tear sheets of many backtests in headless Chromium: drawn, readable, offline, the heat map by hand.

Slow, and skipped where Chromium is not installed (Debian: ``apt-get install chromium``).
"""

import shutil
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

import scalpdesk
from scalpdesk.core.errors import RefusalFacts
from scalpdesk.research.sweep import SweepResult, SweepRow

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe_run = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.enable_socket,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]
HOSTILE = "<b>bold</b>"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def swept():
    """Return a sweep in which ``a`` earns, ``b`` costs, and ``c`` = y earns 100 more."""
    rows = [
        SweepRow(
            config_hash=f"{a}{b}{c}",
            settings={"a": str(a), "b": str(b), "c": c},
            pnl={"total": f"{10 * a - 25 * b + (100 if c == 'y' else 0):.2f}"},
            daily={f"2018-02-{day:02d}": f"{a - b + day % 3}.00" for day in range(5, 10)},
        )
        for a in (1, 2, 3, 4)
        for b in (0, 1, 2)
        for c in "xy"
    ]
    failed = SweepRow(
        config_hash="", settings={"a": HOSTILE, "b": "0", "c": "x"}, refusal=RefusalFacts(HOSTILE)
    )
    return SweepResult((*sorted(rows, key=lambda row: row.rank), failed), 24)


@contextmanager
def opened(browser, result, tmp_path, *, theme="dark", width=1280):
    file = scalpdesk.tear_sheet(result, tmp_path / "sheet.html")
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page, wrong, asked = context.new_page(), [], []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-drawn]", state="attached")
    yield page
    assert (wrong, asked) == ([], [file.as_uri()])
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_sweep_and_bands_are_drawn_and_can_be_read_by_all(browser, tmp_path, theme, width):
    bands = scalpdesk.bands(days=40, delta_cap=8)
    for result in (swept(), bands, SweepResult((), 0), SweepResult(swept().rows[:1], 1)):
        with opened(browser, result, tmp_path, theme=theme, width=width) as page:
            page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator("canvas").count() == (1 if result == bands or result.rows else 0)
            found = axe_run.Axe().run(page).response["violations"]
            assert [(each["id"], each["nodes"][0]["html"][:120]) for each in found] == []


def test_bands_of_two_days_have_wide_intervals_and_are_drawn(browser, tmp_path):
    bands = scalpdesk.bands(days=10, names=["fixed"], delta_cap=8)
    figures = [(2.08, 0.68, 726.5, 256.9), (1.1, 0.32, 723.3, 255.8), (0.255, 0.0606, 711.0, 251.5)]
    rows = [
        replace(row, cost=cost, cost_stderr=cost_error, spread=spread, spread_stderr=spread_error)
        for row, (cost, cost_error, spread, spread_error) in zip(bands.rows, figures, strict=False)
    ]
    with opened(browser, replace(bands, rows=tuple(rows)), tmp_path, width=400) as page:
        assert page.locator("canvas").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_the_heat_map_shows_the_best_of_what_is_chosen(browser, tmp_path):
    def cells(page):
        rows = page.locator("table").first.locator("tbody tr").all_inner_texts()
        return [[float(text.replace("−", "-")) for text in row.split("\t")] for row in rows]

    with opened(browser, swept(), tmp_path) as page:
        best = [[float(a), *(10.0 * a - 25.0 * b + 100.0 for b in (0, 1, 2))] for a in (1, 2, 3, 4)]
        assert cells(page) == best
        page.get_by_label("c", exact=True).select_option("x")
        assert cells(page) == [[a, *(total - 100.0 for total in totals)] for a, *totals in best]
        page.get_by_label("c", exact=True).select_option("best of all")
        page.get_by_label("Rows", exact=True).select_option("b")
        turned = [[float(b), *(10.0 * a - 25.0 * b + 100.0 for a in (1, 2, 3, 4))] for b in (0, 1, 2)]
        assert cells(page) == turned
        assert page.locator("b", has_text="bold").count() == 0
