"""``python -m backend.strategy_runner.harness``, as the 0DTE page starts it: ``scalpdesk harness``."""

import sys

from scalpdesk.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["harness", *sys.argv[1:]]))
