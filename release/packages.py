"""Packages that the product installs: version and hashes of the lock, licence and needs as installed."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "dev.lock"
"""The lock that holds the core and every extra but :data:`UNLOCKED`; its versions are those of the others."""
UNLOCKED = {"ray"}
"""Extras of which no lock holds the packages."""
CORE = "core"
PARTS = tuple(f"scalpdesk-{folder.name}" for folder in sorted((ROOT / "parts").glob("[!.]*")))
"""The other distributions of this repository."""

CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""SPDX identifiers of the classifiers that name one licence."""
SPELLINGS = {
    "2-clause BSD": "BSD-2-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License v2": "Apache-2.0",
    "MIT License": "MIT",
}
"""SPDX identifiers of licences as packages spell them."""
BSD = {"BSD", "BSD License"}
"""Spellings that leave open which BSD licence it is: its text decides."""


@dataclass
class Package:
    """One package: where it comes in, its licence, and its files in the lock."""

    name: str
    version: str
    licence: str
    """SPDX expression."""
    hashes: tuple[str, ...]
    """sha256 of each file that the lock admits."""
    requires: set[str] = field(default_factory=set)
    extras: set[str] = field(default_factory=set)
    """``core``, and the extras that install it."""
    is_direct: bool = False
    """Whether pyproject.toml names it."""


def read_lock(path: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return version and hashes of each package of a lock."""
    text = path.read_text("utf-8")
    entries = re.finditer(
        r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+)((?: \\\n +--hash=sha256:\w+)+)", text, re.MULTILINE
    )
    return {
        canonicalize_name(found[1]): (found[2], tuple(re.findall(r"sha256:(\w+)", found[3])))
        for found in entries
    }


def licence_of(installed: Distribution) -> str:
    """Return the SPDX expression of an installed package: its own, or the one of its classifier or text."""
    about = installed.metadata
    if "License-Expression" in about:
        return about["License-Expression"]
    text = about["License"].strip() if "License" in about else ""
    kinds = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("License")
    ]
    if re.fullmatch(r"[A-Za-z0-9.-]+( (AND|OR) [A-Za-z0-9.-]+)*", text) and text not in BSD:
        return text
    if text in SPELLINGS:
        return SPELLINGS[text]
    if text in BSD or BSD & set(kinds):
        return _bsd_of(installed)
    named = {CLASSIFIERS.get(kind, kind) for kind in kinds}
    return named.pop() if len(named) == 1 else f"unknown: {text[:60]!r}, {sorted(named)}"


def _bsd_of(installed: Distribution) -> str:
    texts = [
        Path(str(file.locate())).read_text("utf-8", errors="replace")
        for file in installed.files or []
        if re.search(r"dist-info/(.*/)?licen[cs]e", str(file), re.IGNORECASE)
    ]
    text = " ".join(" ".join(texts).split())
    if "Redistributions in binary form" not in text:
        return "unknown: BSD without its text"
    has_third_clause = re.search("neither the names?|may not be used to endorse", text, re.IGNORECASE)
    return "BSD-3-Clause" if has_third_clause else "BSD-2-Clause"


def product_packages() -> dict[str, Package]:
    """Return every package that ``scalpdesk`` and its extras install, by name, in order.

    Raises
    ------
    SystemExit
        When what is installed here is not what the lock names.
    """
    locked, found = read_lock(LOCK), {}
    product = distribution("scalpdesk")
    extras = [CORE, *sorted(set(product.metadata.get_all("Provides-Extra") or []) - UNLOCKED - {"all"})]
    direct = {
        canonicalize_name(Requirement(line).name)
        for own in ("scalpdesk", *PARTS)
        for line in distribution(own).requires or []
    }

    def visit(name: str, wanted: Iterable[str], extra: str) -> None:
        if name not in found:
            installed = distribution(name)
            version, hashes = locked.get(name, ("", ()))
            if version != installed.version:
                text = (
                    f"{name}: {installed.version} is installed, {version or 'no version'} is in {LOCK.name}"
                )
                raise SystemExit(f"{text}: make setup-dev")
            found[name] = Package(name, version, licence_of(installed), hashes, is_direct=name in direct)
        package = found[name]
        is_known = extra in package.extras and not set(wanted)
        package.extras.add(extra)
        if is_known:
            return
        for requirement in _requirements(distribution(name), wanted):
            child = canonicalize_name(requirement.name)
            package.requires.add(child)
            visit(child, requirement.extras, extra)

    for extra in extras:
        asked = _requirements(product, () if extra == CORE else (extra,), only_extras=extra != CORE)
        for requirement in _of_others(asked):
            visit(canonicalize_name(requirement.name), requirement.extras, extra)
    return dict(sorted(found.items()))


def _of_others(asked: Iterable[Requirement]) -> Iterator[Requirement]:
    """Yield requirements, in the place of a part of this repository those that it has."""
    for requirement in asked:
        name = canonicalize_name(requirement.name)
        if name in PARTS:
            yield from _of_others(_requirements(distribution(name), requirement.extras))
        elif name != "scalpdesk":
            yield requirement


def _requirements(
    installed: Distribution, extras: Iterable[str], *, only_extras: bool = False
) -> list[Requirement]:
    """Return what a package requires on this machine, with these extras of its own."""
    asked = [Requirement(line) for line in installed.requires or []]

    def holds(requirement: Requirement, *named: str) -> bool:
        marker = requirement.marker
        return marker is None or any(marker.evaluate({"extra": extra}) for extra in named)

    plain = [requirement for requirement in asked if holds(requirement, "")]
    more = [
        requirement for requirement in asked if not holds(requirement, "") and holds(requirement, *extras)
    ]
    return more if only_extras else plain + more
