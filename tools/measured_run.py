"""Run the desk on compiled modules that count what is executed: a part of ``compile_modules.py``.

    python measured_run.py FOLDER

FOLDER holds the compiled modules. The demo trades, hedges and explains a straddle, an event at a time; two
sessions of the embedded market skip what cannot matter and carry a straddle over a night; shares alone are
traded in two more. What they execute is compiled for speed, all else for size
(docs/decisions/0008-compiled-order-path.md).
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ["PURE_PYTHON"] = "1"  # those that are installed are not the ones that count

from compile_modules import modules_in

from scalpdesk.core.compiled import CompiledModules

DAYS = ("--start", "2016-01-04", "--end", "2016-01-05")
SESSIONS = [
    ("demo",),
    ("backtest", "gamma-scalper", *DAYS, "--set", "entry.gate=off", "--set", "exits.edge_gone=false"),
    ("backtest", "st0cka", *DAYS),
]


def main() -> int:
    """Run the sessions in a folder that is thrown away."""
    folder = Path(sys.argv[1]).resolve()
    modules = CompiledModules(folder, switch="1")
    modules.files = {name: str(folder / file) for name, file in modules_in(folder).items()}
    sys.meta_path.insert(0, modules)
    from scalpdesk.cli.main import main as scalpdesk

    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        failed = [words for words in SESSIONS if scalpdesk(words) != 0]
        os.chdir("/")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
