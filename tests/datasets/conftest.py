from pathlib import Path

import pytest

from scalpdesk.datasets.importers.lean import import_lean

LEAN = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "raw_lean" / "Data"


@pytest.fixture(scope="session")
def recorded_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole recorded LEAN folder, imported once."""
    if not LEAN.is_dir():
        pytest.skip("the recorded data is not beside the project")
    catalog = tmp_path_factory.mktemp("recorded") / "catalog"
    import_lean(catalog, LEAN)
    return catalog
