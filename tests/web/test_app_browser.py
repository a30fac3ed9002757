"""The pages in headless Chromium: no error, no address but their own, readable, and they operate the desk.

Slow, and skipped where Chromium is not installed (Debian: ``apt-get install chromium``); ``.ci/run`` runs it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from decimal import Decimal

import pytest

from scalpdesk.cli.dashboard import PageProcess
from scalpdesk.core.owner_only import state_dir
from scalpdesk.monitor.texts import per_cent, plain, signed
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.web.access import load_tokens
from scalpdesk.web.tear_sheet import read_run, sheet_document, tear_sheet

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe_run = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.enable_socket,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]
PAGES = ("desk", "position", "orders", "why", "volatility", "scalps", "runs", "system", "diary")
BOUGHT_OR_SOLD = {1: "95,176,255", -1: "255,157,69"}
SIZES = {"wide": (1440, 1003), "laptop": (1280, 800), "tablet": (820, 1100), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser():
    playwright.expect.set_options(timeout=60_000)  # 5 s are not enough beside other programs
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address(held_runs, held):
    page = PageProcess(held_runs, 0)
    line = page.where(with_token=True)
    assert page.is_up, line
    url, deadline = re.search(r"http://localhost:\d+/", line).group(), time.monotonic() + 60
    while document(url, "api/metrics")["run"]["events"] < held.events:  # it reads the run in its own time
        assert time.monotonic() < deadline
    yield re.search(r"http://localhost:\d+/", line).group(), re.search(r"#token=([\w-]+)", line).group(1)
    page.end()


def document(url, path):
    """Return a document of the API."""
    with urllib.request.urlopen(f"{url}{path}") as answer:
        return json.load(answer)


@contextmanager
def opened(browser, url, *, size="wide", theme="dark"):
    """Open a page; at its end nothing may have gone wrong in it, and nothing may have left this machine."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    context.set_default_timeout(120_000)  # beside the tests of the other lane
    page, wrong, outside = context.new_page(), [], []

    def note(message):
        # a busy server says 503 and when to ask again, which the page does: no fault of either
        if message.type in {"error", "warning"} and "status of 503" not in message.text:
            wrong.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def watch(route):
        if not route.request.url.startswith(("http://localhost:", "data:", "blob:")):
            outside.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    page.route("**/*", watch)
    page.add_init_script(
        "document.addEventListener('securitypolicyviolation',"
        " event => console.error('policy: ' + event.violatedDirective))"
    )
    page.goto(url)
    page.wait_for_selector("html[data-drawn]", state="attached")
    yield page
    assert (wrong, outside) == ([], [])
    context.close()


# a theme changes colours, a size places: each size once, each theme on a wide and a narrow screen
@pytest.mark.parametrize(
    ("size", "theme"), [("wide", "dark"), ("laptop", "light"), ("tablet", "light"), ("phone", "dark")]
)
def test_every_page_is_drawn_without_an_error_and_can_be_read_by_all(browser, address, size, theme):
    for name in PAGES:
        with opened(browser, f"{address[0]}{'' if name == 'desk' else name}", size=size, theme=theme) as page:
            page.locator("main .card:not([hidden])").nth(1).wait_for()
            playwright.expect(page.locator("main")).not_to_contain_text("Loading")
            assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], name
            found = axe_run.Axe().run(page).response["violations"]
            assert [(each["id"], each["nodes"][0]["html"][:120]) for each in found] == [], name


def test_desk_shows_the_figures_of_the_api_and_draws_its_charts(browser, address):
    with opened(browser, address[0]) as page:
        page.locator("canvas").nth(3).wait_for(state="attached")
        state = document(address[0], "api/desk")
        desk = state["desk"]
        held = desk["position"]
        for expected in (
            *(signed(Decimal(text)) for text in (desk["pnl"], *(part["pnl"] for part in desk["parts"]))),
            *(plain(desk[name]) for name in ("day_low", "day_high", "spot")),
            plain(Decimal(desk["costs"]["hedging"])),
            *(each["words"] for each in held["structures"]),
            *(plain(price) for each in held["structures"] for price in each["outlook"]["break_evens"]),
            f"{plain(Decimal(desk['loss_left']), 0)} of {plain(Decimal(desk['daily_loss_limit']), 0)}",
            f"{signed(held['greeks']['net_delta_shares'], 2)} of ±{plain(desk['band_shares'], 2)}",
            f"{desk['hedges']} hedges, {desk['fills']} fills",
            f"{per_cent(held['break_even'], 2)} a day",
            f"{held['first_expiry_days']} d",
            held["deadline"]["at"],
            *(text for leg in held["legs"] for text in (leg["label"], signed(leg["delta_shares"], 1))),
            *(row["why"] for row in desk["decisions"]),
        ):
            playwright.expect(page.locator("main")).to_contain_text(expected)
        assert page.inner_text("#badge") == "SIMULATED"
        playwright.expect(page.locator("#pnl")).to_contain_text(signed(Decimal(state["head"]["pnl"])))
        playwright.expect(page.locator("#worst b")).to_contain_text(signed(state["head"]["worst_pnl"], 0))
        fills = document(address[0], "api/fills")["columns"]
        sides = {side for side, hedge in zip(fills["side"], fills["hedge"], strict=True) if hedge}
        assert sides
        colours = page.evaluate(
            """wanted => new Promise(done => { const began = performance.now();
            const look = () => {
                const canvas = document.querySelector('.price canvas'), seen = new Set();
                const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
                for (let i = 0; i < data.length; i += 4)
                    if (data[i + 3] > 200) seen.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
                const all = wanted.every(each => seen.has(each));
                if (all || performance.now() - began > 10000) done(all); else requestAnimationFrame(look);
            }; look(); })""",
            ["232,236,241", *(BOUGHT_OR_SOLD[side] for side in sides)],
        )
        assert colours  # the price, and hedges bought or sold


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_what_is_held_stands_on_the_first_screen(browser, address, width, height):
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.goto(address[0])
    card = page.locator("main .holding")
    card.locator("tbody tr").nth(1).wait_for()
    boxes = page.evaluate(
        """() => {
            const box = name => document.querySelector(name).getBoundingClientRect().toJSON();
            const parts = ['.verdict', '.reach', 'table', '.greeks', '.facts', '.now'];
            const held = parts.map(name => [name, box(`main .holding ${name}`)]);
            return Object.fromEntries(held);
        }"""
    )
    end = height
    for part in (".verdict", ".reach", "table", ".greeks", ".facts"):
        assert boxes[part]["bottom"] <= end, part
        assert boxes[part]["right"] <= width, part
    first, last = page.evaluate(
        "() => [...document.querySelectorAll('main .reach .cross')].map(each => each.offsetLeft)"
    )
    assert first < boxes[".now"]["left"] - boxes[".reach"]["left"] < last  # just bought at the money
    context.close()


def test_a_page_that_needs_a_token_is_read_after_a_login_or_with_the_printed_address(browser, held_runs):
    words = ["dashboard", "--host", "0.0.0.0", "--port", "0", "--runs-dir", str(held_runs), "--json"]
    server = subprocess.Popen([sys.executable, "-m", "scalpdesk", *words], stdout=subprocess.PIPE)
    try:
        told = json.loads("".join(line.decode() for line in iter(server.stdout.readline, b"}\n")) + "}")
        url, token = told["url"].replace("0.0.0.0", "localhost"), load_tokens(state_dir(os.environ)).operator
        for address in (url, f"{url}orders", f"{url}#token={token}"):
            context = browser.new_context()
            page = context.new_page()
            page.goto(address)
            if "#" not in address:
                playwright.expect(page.locator("#panel")).to_contain_text("Log in to read this desk")
                playwright.expect(page.locator("#badge")).to_have_text("UNKNOWN ACCOUNT")
                page.locator("#panel input").fill(token)
                page.locator("#panel input").press("Enter")
            page.wait_for_selector("html[data-drawn]", state="attached")
            playwright.expect(page.locator("#badge")).to_have_text("SIMULATED")
            page.locator("#role").click()
            playwright.expect(page.locator("#badge")).to_have_text("UNKNOWN ACCOUNT")
            context.close()
    finally:
        server.terminate()
        server.communicate()


def test_a_run_picked_in_the_header_stays_on_every_page_and_the_list_is_searched(browser, address):
    (run,) = document(address[0], "api/runs")["runs"]
    shown = signed(Decimal(run["pnl"]))
    with opened(browser, f"{address[0]}runs", size="phone") as page:
        card = page.locator("main .runs")
        playwright.expect(card).to_contain_text(shown)
        assert not card.locator("dl").is_visible()
        card.locator("summary").click()
        playwright.expect(card.locator("dl")).to_contain_text(run["run_id"])
        page.locator("#search").fill("no such word")
        playwright.expect(card).not_to_contain_text(shown)
        page.locator("#search").fill(run["strategy"])
        playwright.expect(card).to_contain_text(shown)
        page.locator("#pick").focus()
        page.locator(f'#pick option[value="{run["run_id"]}"]').wait_for(state="attached")
        page.locator("#pick").select_option(run["run_id"])
        page.wait_for_url(f"**/runs?run={run['run_id']}")
        page.wait_for_selector("html[data-drawn]", state="attached")
        for name in ("position", "orders", "desk"):
            page.locator(f'#tabs a[data-page="{name}"]').click()
            page.wait_for_url(f"**/{'' if name == 'desk' else name}?run={run['run_id']}")
            playwright.expect(page.locator("#pick")).to_have_value(run["run_id"])
        head = document(address[0], "api/state")["head"]
        playwright.expect(page.locator("#pnl b")).to_have_text(signed(Decimal(head["pnl"])))


def test_a_day_and_a_trade_are_noted_on_the_diary_page(browser, ended_runs):
    server = PageProcess(ended_runs[0], 0)
    url = re.search(r"http://localhost:\d+/#token=[\w-]+", server.where(with_token=True)).group()
    with opened(browser, url.replace("/#", "/diary#"), size="phone") as page:
        page.wait_for_selector('html[data-role="operator"]', state="attached")
        found = document(url.partition("#")[0], "api/journal")
        main = page.locator("main")
        playwright.expect(main.locator(".verdict")).to_contain_text(signed(Decimal(found["total"]), 2))
        page.locator(".calendar button").click()
        page.get_by_label("Note of day 2017-07-03").fill("half a day")
        page.get_by_role("button", name="Keep").click()
        playwright.expect(page.locator(".noting small")).to_have_text("kept")
        playwright.expect(page.locator("main .card").last).to_contain_text("half a day")
        page.locator("tr[data-row]").click()
        page.get_by_label("Tags of trade 1").fill("late, #fomc")
        page.locator("tr.open").get_by_role("button", name="Keep").click()
        playwright.expect(page.locator("main .card").last).to_contain_text("#late #fomc")
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["phone"][0]
    server.end()


def test_a_page_takes_less_than_a_megabyte(browser, address):
    with opened(browser, address[0]) as page:
        figures = page.evaluate(
            """() => ({bytes: performance.getEntriesByType('resource')
                .filter(each => !each.name.includes('uplot') && !each.name.includes('/api/events'))
                .reduce((sum, each) => sum + each.transferSize, 0)})"""
        )
        assert 0 < figures["bytes"] < 1_000_000


def test_when_a_script_fails_the_account_is_still_the_right_one(browser, address):
    context = browser.new_context()
    page = context.new_page()
    page.route("**/app.js", lambda route: route.fulfill(body="throw new Error('broken')"))
    page.goto(address[0])
    assert page.inner_text("#badge") == "SIMULATED"
    context.close()


def test_a_lost_server_is_said(browser, held_runs):
    server = PageProcess(held_runs, 0)
    url = re.search(r"http://localhost:\d+/", server.where()).group()
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("html[data-drawn]", state="attached")
    server.end()
    banner = page.locator("#banner")
    playwright.expect(banner).to_contain_text("the desk may be trading")
    assert page.evaluate("document.documentElement.classList.contains('lost')")
    context.close()


@contextmanager
def demo(folder, speed, command=("demo",)):
    """Run a desk with its page beside it; yield the page's address with the operator's token."""
    words = (*command, "--dashboard", "--port", "0", "--speed", speed, "--set", f"desk.runs_dir={folder}")
    desk = subprocess.Popen(
        [sys.executable, "-m", "scalpdesk", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ,
        text=True,
    )
    try:
        while not (found := re.search(r"http://localhost:\d+/", desk.stdout.readline())):
            assert desk.poll() is None
        yield f"{found.group()}#token={load_tokens(state_dir(os.environ)).operator}"
    finally:
        desk.terminate()
        desk.wait(10)
        desk.stdout.close()


SETTINGS = [word for each in find_strategy("gamma-scalper").demo_settings for word in ("--set", each)]
LIVE = ("run", "gamma-scalper", *SETTINGS)
"""The live runner at the simulated venue, in real processes."""


@pytest.mark.parametrize("command", [("demo",), LIVE], ids=["demo", "live runner"])
def test_halt_resume_and_flatten_from_the_page_reach_the_desk(browser, tmp_path, command):
    with demo(tmp_path / "runs", "120", command) as url, opened(browser, url) as page:
        mode, main = page.locator("#mode b"), page.locator("main")
        page.wait_for_selector('html[data-role="operator"]', state="attached")
        assert "token" not in page.url
        page.locator("main .holding tbody tr").nth(2).wait_for()
        page.click("#halt")
        playwright.expect(mode).to_have_text("HALTED")
        playwright.expect(page.locator("#banner")).to_contain_text("halt pressed on the dashboard")
        page.click("#halt")
        page.keyboard.type("all clear")
        page.keyboard.press("Enter")
        playwright.expect(mode).to_have_text("ACTIVE")
        page.keyboard.press("Escape")
        page.click("#flatten")
        page.wait_for_selector("#panel .hold")
        playwright.expect(page.locator("#panel")).to_contain_text("SPY 275 call")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        playwright.expect(main).to_contain_text("Nothing is held")
        playwright.expect(page.locator("#banner")).to_contain_text("no order works any more")
        page.keyboard.press("Escape")
        page.click("#resume")
        page.keyboard.type("the day goes on")
        page.keyboard.press("Enter")
        playwright.expect(mode).to_have_text("ACTIVE")


def test_of_two_tabs_the_one_clicked_last_is_shown_though_the_first_loads_later(browser, address):
    with opened(browser, address[0]) as page:
        held = []

        def hold(route):
            held.append(route)

        page.route("**/volatility.js", hold)
        page.click("#tabs a[data-page=volatility]")
        page.click("#tabs a[data-page=orders]")
        playwright.expect(page.locator("#tabs a[aria-current=page]")).to_have_attribute("data-page", "orders")
        with page.expect_response("**/volatility.js"):
            held[0].continue_()
        page.evaluate("import('/static/volatility.js').then(() => new Promise(requestAnimationFrame))")
        playwright.expect(page.locator("html")).to_have_attribute("data-page", "orders")
        assert page.url == f"{address[0]}orders"


def test_an_opened_row_stays_open_and_focused_while_decisions_and_orders_come(browser, tmp_path):
    with demo(tmp_path / "runs", "240") as url, opened(browser, url) as page:
        for name, kept in (("why", "half_width_shares"), ("orders", "Order id")):
            page.click(f"#tabs a[data-page={name}]")
            playwright.expect(page.locator("html")).to_have_attribute("data-page", name)
            rows = page.locator("main tbody tr[tabindex]")
            playwright.expect(rows.nth(2)).to_be_attached(timeout=60_000)
            hedges = rows.filter(has_text="hedge")
            if name == "orders":  # one that no later one stands in a row with
                hedges = hedges.filter(has_not_text=" orders")
            chosen = (hedges.last if name == "orders" else hedges.first).get_attribute("data-row")
            page.locator(f"main tr[data-row='{chosen}']").focus()
            page.keyboard.press("Enter")
            detail = page.locator("main tr.open")
            playwright.expect(detail).to_contain_text(kept)
            newest = rows.first.get_attribute("data-row")
            playwright.expect(rows.first).not_to_have_attribute("data-row", newest, timeout=60_000)
            playwright.expect(detail).to_have_count(1)
            playwright.expect(page.locator(f"main tr[data-row='{chosen}']")).to_be_focused()


def test_a_desk_that_is_killed_is_said_everywhere_and_its_alarm_acknowledged(browser, tmp_path):
    runs = tmp_path / "runs"
    words = (*LIVE, "--no-dashboard", "--speed", "120", "--set", f"desk.runs_dir={runs}")
    page = PageProcess(runs, 0)
    url = re.search(r"http://localhost:\d+/#token=[\w-]+", page.where(with_token=True)).group()
    desk = subprocess.Popen([sys.executable, "-m", "scalpdesk", *words], stdout=subprocess.DEVNULL)
    try:
        with opened(browser, url) as shown:
            banner = shown.locator("#banner")
            playwright.expect(shown.locator("main")).to_contain_text("275 call", timeout=60_000)
            desk.kill()
            playwright.expect(shown.locator("#mode b")).to_have_text("NOT RUNNING")
            playwright.expect(shown.locator("#flatten")).to_be_hidden()
            playwright.expect(banner).to_contain_text("is not closed. Held at its")
            playwright.expect(banner).to_contain_text("SPY 275 call")
            shown.click("#tabs a[data-page=system]")
            playwright.expect(shown.locator("main")).to_contain_text("No desk listens for", timeout=20_000)
            alarm = shown.get_by_role("row").filter(has_text="No desk listens for")
            alarm.get_by_role("button", name="Acknowledge").click()
            playwright.expect(shown.locator("main")).to_contain_text("operator on the dashboard")
            playwright.expect(banner).not_to_contain_text("ALARM", timeout=20_000)
    finally:
        desk.kill()
        desk.wait(10)
        page.end()


def test_volatility_says_and_draws_what_the_api_has(browser, address):
    with opened(browser, f"{address[0]}volatility") as page:
        shown = document(address[0], "api/volatility")
        main = page.locator("main")
        for text in (
            shown["sentence"],
            shown["day"],
            f"net {signed(shown['gex']['net_usd'] / 1e6, 1)} M USD per 1 %",
            f"{per_cent(shown['forecast_low'])} to {per_cent(shown['forecast_high'])}",
        ):
            playwright.expect(main).to_contain_text(text)
        drawn = page.locator("main .card:not([hidden]) canvas")
        playwright.expect(drawn).to_have_count(2 + len(shown["smiles"]))
        heat = page.get_by_role("region", name="Implied volatility by expiry and strike")
        playwright.expect(heat.locator("tbody tr")).to_have_count(len(shown["heat"]["rows"]))


def test_position_follows_the_slider_and_an_added_leg(browser, address):
    with opened(browser, f"{address[0]}position") as page:
        ladder = page.get_by_role("region", name="Ladder", exact=True)
        cells = ladder.locator("tbody tr").nth(5).locator("td")
        playwright.expect(cells.nth(5)).to_have_text("0")
        playwright.expect(page.get_by_label("Expiry, or the underlying")).to_have_value("2018-03-16")
        page.get_by_label("Quantity").fill("-2")
        page.get_by_label("Expiry, or the underlying").select_option(label="SPY itself")
        page.get_by_role("button", name="Add at its mark").click()
        shown = document(address[0], "api/position?days=20&leg=SPY:-2")
        date = page.get_by_role("slider", name="Date")
        date.evaluate("(date) => { date.value = '20'; date.dispatchEvent(new Event('input')); }")
        middle = shown["ladder"]["pnl"][5][3]
        playwright.expect(cells.nth(5)).to_have_text(signed(middle, 0))
        assert middle < -100  # twenty days of theta
        playwright.expect(page.locator("main")).to_contain_text(shown["at"])
        playwright.expect(page.locator(".greeks dd").first).to_have_text(
            signed(shown["greeks"]["net_delta_shares"], 2)
        )
        page.get_by_role("button", name="Remove").click()
        page.get_by_role("button", name="Now").click()
        playwright.expect(cells.nth(5)).to_have_text("0")


def test_position_shows_the_risk_of_the_book_and_the_ladder_by_the_chosen_smile(browser, address):
    with opened(browser, f"{address[0]}position") as page:
        shown = document(address[0], "api/risk")
        measures = page.get_by_role("region", name="Value at risk and expected shortfall")
        playwright.expect(measures).to_contain_text(plain(shown["measures"][0]["var"], 0))
        stress = page.get_by_role("region", name="Stress days")
        for row in shown["stress"]:
            playwright.expect(stress).to_contain_text(signed(row["pnl"], 0))
        worst = f"The worst case is {signed(shown['worst_case']['pnl'], 0)} USD"
        playwright.expect(page.locator("main")).to_contain_text(worst)
        switch = page.get_by_label("Volatility of a strike as the spot moves")
        table = page.get_by_role("region", name="Ladder", exact=True)
        cell = table.locator("tbody tr").nth(0).locator("td").nth(5)
        for smile in ("sticky-strike", "sticky-delta"):
            ladder = document(address[0], f"api/position?smile={smile}")["ladder"]
            switch.select_option(smile)
            playwright.expect(cell).to_have_text(signed(ladder["pnl"][-1][3], 0))


def test_records_of_another_run_are_read_page_by_page(browser, held_runs, ended_runs, tmp_path):
    (held,) = (each for each in held_runs.iterdir() if each.is_dir())
    (tmp_path / held.name).symlink_to(held)
    # written last, so this one is followed; only the other has decisions for three pages
    followed = ended_runs[0] / ended_runs[1]["run_id"]
    shutil.copytree(followed, tmp_path / followed.name, copy_function=shutil.copyfile)
    server, other = PageProcess(tmp_path, 0), held.name
    try:
        url = re.search(r"http://localhost:\d+/", server.where()).group()
        with opened(browser, f"{url}runs") as page:
            page.route("**/api/decisions*", lambda route: route.continue_(url=f"{route.request.url}&limit=1"))
            page.get_by_role("row").filter(has_text=other).get_by_role("link", name="why").click()
            main, first = page.locator("main"), page.locator("main tbody tr").first
            playwright.expect(main).to_contain_text(f"Run {other}.")  # read to its end
            decided = document(url, f"api/decisions?run={other}&limit=3")["decisions"]
            playwright.expect(first).to_contain_text(decided[0]["time"])
            for button, place in (("Older", 1), ("Older", 2), ("Newer", 1), ("Newest", 0)):
                page.get_by_role("button", name=button).click()
                playwright.expect(first).to_have_attribute("data-row", str(decided[place]["first"]))
            page.get_by_role("link", name="Its orders").click()
            playwright.expect(main).to_contain_text(f"Run {other}.")
            page.locator("main tbody tr").filter(has_not_text=" orders").first.click()
            playwright.expect(page.locator("tr.open caption")).to_contain_text("on average at")
            page.get_by_role("link", name="the followed run").click()
            playwright.expect(main).not_to_contain_text(other)
    finally:
        server.end()


def test_an_ended_run_shows_no_command_and_its_keys_do_nothing(browser, ended_runs):
    server = PageProcess(ended_runs[0], 0)
    try:
        url = re.search(r"http://localhost:\d+/", server.where()).group()
        with opened(browser, url) as page:
            playwright.expect(page.locator("#mode b")).to_have_text("ENDED")
            for name in ("#halt", "#flatten"):
                playwright.expect(page.locator(name)).to_be_hidden()
            for key in ("f", "h", "Enter"):
                page.keyboard.press(key)
            assert page.locator("#panel").is_hidden()
    finally:
        server.end()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_tear_sheet_draws_itself_offline(browser, ended_runs, tmp_path, theme):
    folder, summary = ended_runs
    file = tmp_path / "sheet.html"
    run = read_run(folder / summary["run_id"])
    file.write_text(tear_sheet(sheet_document(run)), "utf-8")
    context = browser.new_context(viewport={"width": 1440, "height": 960}, color_scheme=theme)
    page, wrong, asked = context.new_page(), [], []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-drawn]", state="attached")
    assert (wrong, asked) == ([], [file.as_uri()])
    assert page.locator("canvas").count() == 9
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert summary["nav_change"] in page.inner_text(".result").replace("−", "-")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
    found = axe_run.Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:120]) for each in found] == []
    context.close()


def readout_at(page, chart, share):
    """Put the pointer at a share of a chart's width; return the lines that it shows there."""
    page.locator(f"{chart} .u-over").scroll_into_view_if_needed()
    box = page.locator(f"{chart} .u-over").bounding_box()
    page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
    shown = page.locator(f"{chart} .readout")
    shown.wait_for()
    return shown.inner_text().split("\n")


def test_the_desk_shows_the_values_under_the_pointer_on_every_chart(browser, address):
    with opened(browser, address[0]) as page:
        page.locator(".plot.price .u-over").wait_for(state="attached")
        columns = document(address[0], "api/series?since=0")["columns"]
        at, spot = readout_at(page, ".plot.price", 0.5)
        assert re.fullmatch(r"\d\d:\d\d:\d\d", at)
        middle = columns["spot"][len(columns["spot"]) // 2]
        assert float(spot.removeprefix("spot ").replace(",", "")) == pytest.approx(middle, abs=1)
        readouts = page.locator(".readout:not([hidden])")
        playwright.expect(readouts).to_have_count(6)  # one pointer for all of them
        assert {text.split("\n")[0] for text in readouts.all_inner_texts()} == {at}


def test_a_zoom_stays_when_new_data_comes_and_goes_when_the_whole_is_asked_for(browser, address):
    chart = "main .plot.mid"
    with opened(browser, f"{address[0]}position") as page:
        page.locator(f"{chart} .u-over").wait_for(state="attached")
        whole = readout_at(page, chart, 0.02)[0]
        box = page.locator(f"{chart} .u-over").bounding_box()
        page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 50, steps=4)
        page.mouse.up()
        near = readout_at(page, chart, 0.02)[0]
        assert float(near.replace(",", "")) > float(whole.replace(",", ""))
        for _ in range(2):
            page.wait_for_event("response", lambda answer: "/api/position" in answer.url)
        assert float(readout_at(page, chart, 0.02)[0].replace(",", "")) == pytest.approx(
            float(near.replace(",", ""))
        )
        page.locator(f"{chart} .whole").click()
        assert readout_at(page, chart, 0.02)[0] == whole


def test_a_table_and_a_chart_are_saved_as_files(browser, address):
    with opened(browser, f"{address[0]}position") as page:
        table = page.locator(".tabled", has=page.locator("[aria-label='Ladder']"))
        table.hover()
        with page.expect_download() as saved:
            table.locator(".export").click()
        lines = saved.value.path().read_text().splitlines()
        shown = document(address[0], "api/position")
        spots = [shown["spot"] * (1 + move) for move in reversed(shown["ladder"]["moves"])]
        assert saved.value.suggested_filename == "ladder.csv"
        assert [line.split(",")[0] for line in lines] == ["Spot", *map(plain, spots)]
        chart = page.locator(".plot.mid")
        chart.hover()
        with page.expect_download() as saved:
            chart.get_by_role("button", name="save as PNG").click()
        assert saved.value.path().read_bytes().startswith(b"\x89PNG")
        with page.expect_download() as saved:
            chart.get_by_role("button", name="save as CSV").click()
        spots = [float(line.split(",")[0]) for line in saved.value.path().read_text().splitlines()[1:]]
        assert spots == document(address[0], "api/position")["payoff"]["spots"]


def test_a_run_is_made_again_from_the_runs_page(browser, ended_runs):
    server = PageProcess(ended_runs[0], 0)
    url = re.search(r"http://localhost:\d+/#token=[\w-]+", server.where(with_token=True)).group()
    with opened(browser, url.replace("/#", "/runs#"), size="phone") as page:
        page.wait_for_selector('html[data-role="operator"]', state="attached")
        page.locator(".runs summary").click()
        page.get_by_role("button", name="Run again: other fill models").click()
        playwright.expect(page.get_by_role("button", name="Cancel")).to_be_visible()
        playwright.expect(page.locator(".again tbody tr")).to_have_count(4, timeout=120_000)
        playwright.expect(page.locator(".again [role=status]")).to_contain_text("3 made")
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["phone"][0]
    server.end()


def test_a_selected_table_stands_still_while_the_desk_goes_on(browser, address):
    with opened(browser, f"{address[0]}position") as page:
        page.get_by_role("region", name="Legs").wait_for()
        cell = page.evaluate_handle("document.querySelector('[aria-label=Legs] tbody td')")
        cell.evaluate("cell => getSelection().selectAllChildren(cell)")
        for _ in range(3):
            page.wait_for_event("response", lambda answer: "/api/position" in answer.url)
        assert cell.evaluate("cell => cell.isConnected && String(getSelection()) === cell.textContent")
        cell.evaluate("() => getSelection().removeAllRanges()")
        page.wait_for_function("cell => !cell.isConnected", arg=cell)


def test_position_moves_its_curve_by_volatility_and_keeps_one_to_compare(browser, address):
    chart = "main .plot.mid"
    with opened(browser, f"{address[0]}position") as page:
        page.locator(f"{chart} .u-over").wait_for(state="attached")
        page.get_by_role("button", name="Keep this curve to compare").click()
        page.get_by_text("kept", exact=True).wait_for()
        with page.expect_response(lambda answer: "vol=10" in answer.url):
            page.get_by_role("slider", name="Change of 30-day volatility, points").fill("10")
        playwright.expect(page.locator("main")).to_contain_text("+10 pts")
        page.wait_for_timeout(300)
        _, now, _, kept = (line.split()[-1].replace("−", "-") for line in readout_at(page, chart, 0.5))
        middle = {points: document(address[0], f"api/position?vol={points}")["payoff"] for points in (0, 10)}
        at = len(middle[0]["now"]) // 2
        assert float(kept) == pytest.approx(middle[0]["now"][at], abs=1)
        assert float(now) == pytest.approx(middle[10]["now"][at], abs=1)
        assert float(now) > float(kept)  # a long straddle


def test_live_scalps_have_the_figures_of_the_held_options(browser, address):
    with opened(browser, f"{address[0]}scalps") as page:
        legs = [leg for leg in document(address[0], "api/position")["legs"] if leg["expiry"]]
        assert len(legs) == 2
        for leg in legs:
            row = page.get_by_role("row").filter(has_text=leg["label"])
            for figure in (
                signed(Decimal(leg["quantity"]), 0),
                plain(leg["entry"]),
                plain(leg["mark"]),
                signed(Decimal(leg["open_pnl"])),
                signed(leg["delta_shares"], 1),
                signed(leg["theta_usd_per_day"]),
            ):
                playwright.expect(row).to_contain_text(figure)


def test_orders_are_found_by_words(browser, address):
    with opened(browser, f"{address[0]}orders") as page:
        rows = page.locator("tr[data-row]")
        rows.first.wait_for()
        found = document(address[0], "api/orders?search=call")["folded"]
        page.get_by_role("searchbox", name="Search the orders").fill("call")
        playwright.expect(rows).to_have_count(len(found))
        assert 0 < len(found) < len(document(address[0], "api/orders")["folded"])
        playwright.expect(page.get_by_role("button", name="Older")).to_have_count(0)  # all stand on one page
