"""The scripts of release/: licences that pass, the bill of materials, the interpreter that is taken."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("packages", "licences", "sbom", "check_wheel")


@pytest.fixture(scope="module")
def release():
    sys.path.insert(0, str(ROOT / "release"))
    yield {name: importlib.import_module(name) for name in NAMES}
    sys.path.remove(str(ROOT / "release"))
    for name in NAMES:
        del sys.modules[name]


@pytest.fixture(scope="module")
def packages(release):
    return release["packages"].product_packages()


@pytest.mark.rows(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-or-later", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND BSD-3-Clause", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", False),
        ("unknown: 'free', []", False),
    ],
)
def test_a_licence_is_allowed_when_an_allowed_one_may_be_chosen(release, expression, allowed):
    assert release["licences"].is_allowed(expression) is allowed


def test_a_package_under_another_licence_is_found(release, packages):
    licences = release["licences"]
    changed = packages | {"numpy": release["packages"].Package("numpy", "9", "GPL-3.0-only", ())}
    assert licences.undecided(packages) == []
    assert licences.undecided(changed) == ["numpy 9: GPL-3.0-only"]


def test_a_decision_on_a_package_that_is_gone_is_found(release, packages):
    left = {name: package for name, package in packages.items() if name != "psycopg"}
    assert len(release["licences"].undecided(left)) == 1


def test_the_core_and_the_dashboard_are_the_packages_of_the_lock(release, packages):
    locked = release["packages"].read_lock(ROOT / "requirements" / "run.lock")
    assert {name for name, package in packages.items() if package.extras & {"core", "web"}} == set(locked)


def test_the_bill_of_materials_fits_its_schema_and_names_every_package_of_the_lock(release, packages):
    text = release["sbom"].bill(packages)
    assert release["sbom"].faults_of(text) == []
    components = {component["name"]: component for component in json.loads(text)["components"]}
    hashes = components["numpy"]["externalReferences"][0]["hashes"]
    assert {entry["content"] for entry in hashes} == set(packages["numpy"].hashes)
    assert (components["numpy"]["scope"], components["psycopg"]["scope"]) == ("required", "optional")


def test_a_bill_of_materials_without_a_locked_package_or_its_form_is_refused(release, packages):
    document = json.loads(release["sbom"].bill(packages))
    document["components"] = [entry for entry in document["components"] if entry["name"] != "scipy"]
    document["dependencies"] = []
    assert len(release["sbom"].faults_of(json.dumps(document))) == 1
    del document["bomFormat"]
    assert len(release["sbom"].faults_of(json.dumps(document))) == 1


def test_an_interpreter_that_refuses_is_passed_over(release, tmp_path, monkeypatch):
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    for folder, line in (("shim", "exit 127"), ("real", f'exec {sys.executable} "$@"')):
        (tmp_path / folder).mkdir()
        program = tmp_path / folder / f"python{version}"
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shim'}:{tmp_path / 'real'}")
    found = release["check_wheel"].find_pythons([])
    assert set(found) == {version}
    monkeypatch.setenv("PATH", str(tmp_path / "shim"))
    assert release["check_wheel"].find_pythons([]) == {}


def test_every_extra_that_a_command_needs_is_tried_without_it(release):
    script = release["check_wheel"]
    assert set(script.NEEDS_EXTRA) | script.NO_COMMAND == set(script.PROJECT["optional-dependencies"])
