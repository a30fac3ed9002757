"""Time how old a state is when the page has drawn it, at a desk that runs beside it.

``python benchmarks/event_to_pixel.py [SPEED]`` (60 times the market's speed unless told). Needs Chromium and
playwright, which ``make setup`` installs and which the tests of the pages use too.
"""

import re
import shutil
import subprocess
import sys
from tempfile import TemporaryDirectory

import numpy as np
from playwright.sync_api import sync_playwright

STATES = 120
DELAYS = """wanted => new Promise(done => {
    const root = document.documentElement, delays = [];
    let last = root.dataset.drawn;
    const look = () => {
        if (root.dataset.drawn !== last) {
            last = root.dataset.drawn;
            delays.push(Date.now() - Number(last));
        }
        if (delays.length < wanted) requestAnimationFrame(look); else done(delays);
    };
    look();
})"""
"""The page leaves the time of the state that it drew, by the desk's clock, which is this machine's too."""


def delays_ms(speed):
    """Return the milliseconds from each state to its drawing."""
    with TemporaryDirectory() as folder, sync_playwright() as driver:
        words = ("demo", "--dashboard", "--port", "0", "--speed", speed, "--set", f"desk.runs_dir={folder}")
        command = [sys.executable, "-m", "scalpdesk", *words]
        desk = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            while not (found := re.search(r"http://localhost:\d+/#token=[\w-]+", desk.stdout.readline())):
                assert desk.poll() is None
            chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = chromium.new_page()
            page.goto(found.group())
            page.locator("canvas").nth(3).wait_for(state="attached")
            return page.evaluate(DELAYS, STATES)
        finally:
            desk.terminate()
            desk.communicate()


if __name__ == "__main__":
    found = np.quantile(delays_ms(sys.argv[1] if len(sys.argv) > 1 else "60"), (0.5, 0.95, 1.0))
    print("event to pixel, ms: median {:.0f}, 95 % quantile {:.0f}, longest {:.0f}".format(*found))
