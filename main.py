"""``python main.py``, as the gamma scalper's page starts it."""

import sys

from scalpdesk.cli.main import main

WORDS = ["run", "gamma-scalper", "--venue", "alpaca", *sys.argv[1:]]

if __name__ == "__main__":
    sys.stderr.write(f"main.py is: scalpdesk {' '.join(WORDS)}\n")
    sys.exit(main(WORDS))
