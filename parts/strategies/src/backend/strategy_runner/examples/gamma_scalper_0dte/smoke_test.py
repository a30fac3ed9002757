"""``python -m backend.strategy_runner.examples.gamma_scalper_0dte.smoke_test``, as on the page."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    path = Path("examples", "gamma_scalper_0dte", "smoke_test.py")  # it is in no wheel
    if not path.is_file():
        sys.exit(f"error: {path} is not here: it comes with a checkout, and is started from there")
    sys.path.insert(0, str(path.parent))
    runpy.run_path(str(path), run_name="__main__")
