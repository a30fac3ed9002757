"""What authors import: each door gives what its stub lists, from its home, and loads it on first use."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from scalpdesk.core.sockets import SOCKETS

ROOT = Path(__file__).resolve().parents[2]
STUBS = {
    ".".join(path.with_suffix("").parts).rpartition(".src.")[2].removesuffix(".__init__"): path
    for folder in ("src", "parts")
    for path in sorted((ROOT / folder).rglob("*.pyi"))
}


def listed(name: str) -> list[tuple[str, ast.alias]]:
    return [(node.module, each) for node in ast.parse(STUBS[name].read_text()).body for each in node.names]


@pytest.mark.rows("name", STUBS)
def test_a_door_gives_what_stands_in_its_stub_and_nothing_else(name):
    door = import_module(name)
    for home, each in listed(name):
        assert getattr(door, each.asname) is getattr(import_module(home), each.name)
    assert dir(door) == door.__all__ == sorted(each.asname for _, each in listed(name))
    assert not {module.name for module in iter_modules(getattr(door, "__path__", ()))} & set(door.__all__)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        _ = door.nothing


def test_doors_open_without_what_is_behind_them():
    code = (
        f"import sys, {', '.join(STUBS)}; print(sorted({{'msgspec', 'numpy', 'click'}} & {{*sys.modules}}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"


def test_the_contract_of_each_socket_is_promised():
    promised = {f"{home}:{each.name}" for name in STUBS for home, each in listed(name)}
    assert {socket.contract for socket in SOCKETS} - promised == {"click:Command"}
