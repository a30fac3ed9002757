"""The example folders' own modules can be imported, as from a strategy folder."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "gamma_scalper_0dte"))
