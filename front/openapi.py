"""Write the description of the API that the server gives, for the types of the pages' scripts."""

import json
from pathlib import Path

from scalpdesk.core.clock import SystemClock
from scalpdesk.web.access import Access, Tokens
from scalpdesk.web.app import create_app
from scalpdesk.web.feed import DeskFeed

if __name__ == "__main__":
    nothing = DeskFeed(Path("no-runs"), None, SystemClock())
    print(json.dumps(create_app(nothing, Access(Tokens("", ""))).openapi()))
