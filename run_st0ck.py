"""``python run_st0ck.py st0cka``, as the page of ST0CK starts it: ``scalpdesk run st0cka --venue alpaca``."""

import sys

from scalpdesk.cli.main import main

WORDS = ["run", *sys.argv[1:], "--venue", "alpaca"]

if __name__ == "__main__":
    sys.stderr.write(f"run_st0ck.py is: scalpdesk {' '.join(WORDS)}\n")
    sys.exit(main(WORDS))
