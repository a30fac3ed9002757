"""The programs beside the 0DTE strategy, as its page starts them."""

import runpy
import sys
from pathlib import Path


def start(name: str) -> None:
    """Run a program of the checkout's own example folder; it is in no wheel."""
    path = Path("examples", "gamma_scalper_0dte", name)
    if not path.is_file():
        sys.exit(f"error: {path} is not here: it comes with a checkout, and is started from there")
    sys.path.insert(0, str(path.parent))
    runpy.run_path(str(path), run_name="__main__")
