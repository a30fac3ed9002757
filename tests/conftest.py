"""Makes the builders under ``tests/fakes`` importable as ``fakes`` in every test."""

import sys
from pathlib import Path

from hypothesis import settings

# a busy machine is not a failed law: how long an example takes is nobody's business here
settings.register_profile("desk", deadline=None)
settings.load_profile("desk")

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    # after the installed packages: a folder of tests must never hide a real package of its name
    sys.path.append(_HERE)
