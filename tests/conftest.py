"""Makes the builders under ``tests/fakes`` importable as ``fakes`` in every test, and times no example.

Only that package is added, not the folder of tests: ``tests/datasets`` or ``tests/records`` must
never be found by the name of an installed package.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from hypothesis import settings

# an example that takes long says something of the machine, nothing of the law
settings.register_profile("desk", deadline=None)
settings.load_profile("desk")

_FAKES = Path(__file__).resolve().parent / "fakes"

if "fakes" not in sys.modules:
    _spec = spec_from_file_location("fakes", _FAKES / "__init__.py", submodule_search_locations=[str(_FAKES)])
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules["fakes"] = module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["fakes"])
