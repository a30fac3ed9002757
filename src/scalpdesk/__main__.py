"""``python -m scalpdesk``: the command line."""

import sys

from scalpdesk.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
