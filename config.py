"""``config.py`` of the earlier programs: its settings are keys of scalpdesk.toml, or names in .env."""

import sys

from scalpdesk.cli.main import main

if __name__ == "__main__":
    sys.stderr.write("config.py is: scalpdesk init writes scalpdesk.toml, scalpdesk config show reads it\n")
    sys.exit(main(["config", "show", *sys.argv[1:]]))
