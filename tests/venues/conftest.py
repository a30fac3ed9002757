"""Makes the questions under ``tests/conformance`` importable as ``conformance``."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_QUESTIONS = Path(__file__).resolve().parents[1] / "conformance"

if "conformance" not in sys.modules:
    _spec = spec_from_file_location(
        "conformance", _QUESTIONS / "__init__.py", submodule_search_locations=[str(_QUESTIONS)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules["conformance"] = module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["conformance"])
