"""``python -m backend.strategy_runner.harness``, as the 0DTE page starts it: ``scalpdesk harness``."""

import sys
from pathlib import Path

from scalpdesk.cli.main import main

_OF_THE_PAGE = "backend/strategy_runner/"


def _path_here(word: str) -> str:
    """Return the path of an example in a checkout for the page's own."""
    here = word.removeprefix(_OF_THE_PAGE)
    return here if not Path(word).exists() and Path(here).exists() else word


if __name__ == "__main__":
    sys.exit(main(["harness", *map(_path_here, sys.argv[1:])]))
