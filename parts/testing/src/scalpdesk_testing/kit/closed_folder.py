"""Folders that cannot be read, also where the tests run as root, who may read everything."""

from pathlib import Path
from typing import Any

import pytest


def close_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the system refuse every look at the files in ``folder``."""
    stat = Path.stat

    def refuse(path: Path, **more: Any) -> Any:
        if folder in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", refuse)
