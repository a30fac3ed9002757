"""A door: a module whose names load on first use from their homes, as the stub beside it lists them.

The stub (``.pyi``) is both what a type checker reads and what is promised to authors.
"""

import ast
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def door(module: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of the door ``module``, whose code is ``file``."""

    @cache
    def homes() -> dict[str, tuple[str, str]]:
        stub = ast.parse(Path(file).with_suffix(".pyi").read_text("utf-8"))
        imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
        return {
            each.asname or each.name: (node.module or "", each.name)
            for node in imports
            for each in node.names
        }

    def load(name: str) -> Any:
        if name == "__all__":
            return names()
        if name not in homes():
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, there = homes()[name]
        return getattr(import_module(home), there)

    def names() -> list[str]:
        return sorted(homes())

    return load, names
