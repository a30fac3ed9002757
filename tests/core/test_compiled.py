"""Compiled modules stand for their sources only while every source is as it was compiled."""

import importlib.util
import json
import os
import subprocess
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import msgspec
import pytest

from scalpdesk.core.compiled import MANIFEST, CompiledModules


def stamp(path):
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


@pytest.fixture
def sources(tmp_path):
    """A package of two files."""
    folder = tmp_path / "package"
    (folder / "orders").mkdir(parents=True)
    (folder / "orders" / "one_order.py").write_text("STATE = 'source'\n", encoding="utf-8")
    (folder / "units.py").write_text("CENT = 1\n", encoding="utf-8")
    return folder


@pytest.fixture
def compiled(tmp_path, sources):
    """What was compiled of it; a file of Python stands for machine code."""
    folder = tmp_path / "compiled"
    folder.mkdir()
    (folder / "one_order.py").write_text("STATE = 'compiled'\n", encoding="utf-8")
    manifest = {
        "sources": str(sources),
        "suffix": EXTENSION_SUFFIXES[0],
        "stamps": {name: stamp(sources / name) for name in ("orders/one_order.py", "units.py")},
        "modules": {"package.orders.one_order": "one_order.py"},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_a_compiled_module_is_imported_in_the_place_of_its_source_and_no_other(compiled, sources):
    modules = CompiledModules(compiled, sources)
    spec = modules.find_spec("package.orders.one_order", None)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.STATE == "compiled"
    assert modules.find_spec("package.units", None) is None


def touch(sources):
    path = sources / "units.py"
    before = path.stat()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    return "out of date: units.py has changed"


def edit_at_the_same_instant(sources):
    path = sources / "units.py"
    before = path.stat()
    path.write_text("CENT = 100\n", encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return "out of date: units.py has changed"


def delete(sources):
    (sources / "orders" / "one_order.py").unlink()
    return "out of date: orders/one_order.py is gone"


@pytest.mark.parametrize("change", [touch, edit_at_the_same_instant, delete])
def test_any_change_of_any_source_ends_the_use_of_all(compiled, sources, change):
    assert CompiledModules(compiled, sources).files
    why = change(sources)
    modules = CompiledModules(compiled, sources)
    assert modules.files == {}
    assert modules.find_spec("package.orders.one_order", None) is None
    assert modules.why_not == why


def test_other_sources_another_python_or_a_torn_manifest_have_no_compiled_modules(
    compiled, sources, tmp_path
):
    copy = tmp_path / "copy"
    copy.mkdir()
    assert not CompiledModules(compiled, copy).files
    path = compiled / MANIFEST
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps(manifest | {"suffix": ".cpython-399.so"}), encoding="utf-8")
    assert not CompiledModules(compiled, sources).files
    path.write_text("{", encoding="utf-8")
    assert CompiledModules(compiled, sources).why_not == "none"


@pytest.mark.parametrize(("switch", "is_off"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_the_switch_imports_the_sources(compiled, sources, switch, is_off):
    modules = CompiledModules(compiled, sources, switch=switch)
    assert (modules.files == {}) is is_off
    assert modules.why_not == ("switched off" if is_off else "")


@pytest.mark.skipif(os.environ["PURE_PYTHON"] == "0", reason="the compiled modules are tested")
def test_the_suite_runs_the_sources():
    """Coverage and mutants see no machine code: the switch is off in every process of the tests."""
    import scalpdesk.engine.trading_engine as module

    assert module.__file__.endswith(".py")


@pytest.fixture(scope="module")
def tool():
    """``tools/compile_modules.py`` as a module."""
    path = Path(__file__).resolve().parents[2] / "tools" / "compile_modules.py"
    spec = importlib.util.spec_from_file_location("compile_modules", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_struct_inherits_the_options_that_the_compiler_drops(tool):
    for option in sorted(tool.INHERITED):
        base = msgspec.defstruct("Base", [], **{"frozen": True, option: option != "gc"})
        heir = msgspec.defstruct("Heir", [("units", int)], bases=(base,))
        assert getattr(heir.__struct_config__, option) is (option != "gc")
    source = "import msgspec\n\n\nclass Lot(msgspec.Struct, frozen=True, gc=False):\n    units: int\n"
    bases = {}
    copy = tool._keep_struct_options(source, bases)
    assert bases == {"frozen=True, gc=False": "Struct0"}
    assert copy.splitlines()[0] == "import msgspec; from scalpdesk.struct_bases import Struct0"
    assert copy.splitlines()[3] == "class Lot(Struct0, frozen=True, gc=False):"
    assert len(copy.splitlines()) == len(source.splitlines())


def test_a_struct_with_options_that_are_not_inherited_is_refused(tool):
    source = "import msgspec\n\n\nclass Keys(msgspec.Struct, frozen=True, kw_only=True):\n    units: int\n"
    with pytest.raises(ValueError, match="leave its module out"):
        tool._keep_struct_options(source, {})


PROBE = """
#include "cached_lookups.h"
static PyObject *attribute(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    return CPyObject_GetAttr(given[0], given[1]);
}
static PyObject *item(PyObject *module, PyObject *const *given, Py_ssize_t count) {
    return CPyDict_GetItem(given[0], given[1]);
}
static PyMethodDef methods[] = {
    {"attribute", (PyCFunction)attribute, METH_FASTCALL}, {"item", (PyCFunction)item, METH_FASTCALL}, {NULL}
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "probe", NULL, -1, methods};
PyMODINIT_FUNC PyInit_probe(void) { return PyModule_Create(&definition); }
"""
RUNTIME = """
#include <Python.h>
#define CPyObject_GetAttr PyObject_GetAttr
static PyObject *CPyDict_GetItem(PyObject *dict, PyObject *key) { return PyObject_GetItem(dict, key); }
"""


@pytest.fixture(scope="module")
def lookups(tool, tmp_path_factory):
    """The look-ups of the compiled modules, called from Python."""
    if tool._missing():
        pytest.skip(tool._missing())
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.c").write_text(PROBE, encoding="ascii")
    (folder / "CPy.h").write_text(RUNTIME, encoding="ascii")
    paths = (folder, tool.LOOKUPS.parent, sysconfig.get_path("include"))
    subprocess.run(
        ["cc", "-shared", "-fPIC", *(f"-I{path}" for path in paths), "probe.c", "-o", "probe.so"],
        cwd=folder,
        check=True,
    )
    spec = importlib.util.spec_from_file_location("probe", folder / "probe.so")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_kept_attribute_is_that_of_the_object_and_its_class_as_they_are(lookups):
    class Lot:
        __slots__ = ("price", "units")

    class Frozen(msgspec.Struct, frozen=True, gc=False):
        units: int

    one, other = Lot(), Lot()
    one.units, other.units = 5, 7
    assert [lookups.attribute(lot, "units") for lot in (one, other, one, Frozen(9))] == [5, 7, 5, 9]
    one.units = 6
    assert lookups.attribute(one, "units") == 6
    del one.units
    with pytest.raises(AttributeError, match="units"):
        lookups.attribute(one, "units")
    assert lookups.attribute(other, "units") == 7
    Lot.units = property(lambda lot: -1)  # what a slot was, something else is now
    assert lookups.attribute(other, "units") == -1
    Lot.__getattribute__ = lambda lot, name: name.upper()
    assert lookups.attribute(other, "price") == "PRICE"


def test_what_is_no_slot_is_looked_up_each_time(lookups):
    class Book:
        depth = 1

        def __getattr__(self, name):
            return f"no {name}"

    book = Book()
    assert [lookups.attribute(book, "depth") for _ in range(3)] == [1, 1, 1]
    book.depth = 2
    assert [lookups.attribute(book, "depth") for _ in range(3)] == [2, 2, 2]
    assert lookups.attribute(book, "width") == "no width"
    for number in range(3_000):  # more than are kept, and names that are made as they are asked for
        assert lookups.attribute(book, f"width{number}") == f"no width{number}"
    assert lookups.attribute(lookups, "item") is lookups.item


def test_a_kept_global_is_what_the_dict_holds_now(lookups):
    names = {"tick": 1}
    assert [lookups.item(names, "tick") for _ in range(3)] == [1, 1, 1]
    names["tick"] = 2
    assert lookups.item(names, "tick") == 2
    names["lot"] = 100
    assert (lookups.item(names, "tick"), lookups.item(names, "lot")) == (2, 100)
    del names["tick"]
    with pytest.raises(KeyError, match="tick"):
        lookups.item(names, "tick")
    for _ in range(3_000):  # another dict at the same place in memory is another dict
        assert lookups.item({"tick": object()}, "tick").__class__ is object
    assert lookups.item({1: "one", "a b": 3}, 1) == "one"
