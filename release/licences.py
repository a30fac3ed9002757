"""Check the licences of all that the product installs, and write their page.

python release/licences.py          what ``make check`` runs: exit 1 on a licence without a decision
python release/licences.py --write  the same, and write docs/reference/licences.md (make docs)
"""

import re
import sys
from importlib.metadata import distribution

from license_expression import get_spdx_licensing
from packages import CORE, ROOT, Package, product_packages

PAGE = ROOT / "docs" / "reference" / "licences.md"
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "NCSA",
    "PSF-2.0",
    "Zlib",
}
"""Licences that ask for a notice at most; a package under others needs a line in :data:`DECIDED`."""

_MPL = "Weak copyleft of single files: changed files of it would have to be published. Used unchanged."
_LGPL = (
    "Weak copyleft of the library. Used unchanged through import, by the extra `postgres` alone; SQLite needs"
    " no driver. A container that holds it is passed on with its licence, and with the package replaceable."
)
DECIDED = {
    "certifi": ("MPL-2.0", _MPL),
    "psycopg": ("LGPL-3.0-only", _LGPL),
    "psycopg-binary": ("LGPL-3.0-only", _LGPL),
    "tqdm": ("MPL-2.0 AND MIT", _MPL),
}
"""Licence and decision, by package."""

LIBRARIES = {
    "libcrypt": "LGPL-2.1-or-later",
    "libgfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libkeyutils": "LGPL-2.1-or-later",
    "libquadmath": "LGPL-2.1-or-later",
}
"""Shared libraries under copyleft that wheels carry in a ``.libs`` folder."""
PERMISSIVE_LIBRARIES = {
    "libXau",
    "libavif",
    "libbrotlicommon",
    "libbrotlidec",
    "libcom_err",
    "libcrypto",
    "libfreetype",
    "libgssapi_krb5",
    "libharfbuzz",
    "libjpeg",
    "libk5crypto",
    "libkrb5",
    "libkrb5support",
    "liblber",
    "liblcms2",
    "libldap",
    "liblzma",
    "libopenjp2",
    "libpng16",
    "libpq",
    "libsasl2",
    "libscipy_openblas",
    "libscipy_openblas64_",
    "libsharpyuv",
    "libssl",
    "libtiff",
    "libwebp",
    "libwebpdemux",
    "libwebpmux",
    "libxcb",
    "libzstd",
}
"""Those that ask for a notice at most; of FreeType's two licences its own is taken, not the GPL."""

_spdx = get_spdx_licensing()


def is_allowed(expression: str) -> bool:
    """Return whether a licence may be chosen that is allowed: all parts of AND, one of OR."""
    return not expression.startswith("unknown") and _holds(_spdx.parse(expression))


def _holds(part: object) -> bool:
    parts = [_holds(arg) for arg in getattr(part, "args", ())]
    if isinstance(part, _spdx.AND):
        return all(parts)
    if isinstance(part, _spdx.OR):
        return any(parts)
    return str(part) in ALLOWED


def libraries_of(package: Package) -> set[str]:
    """Return the names of shared libraries that a wheel carries beside its package."""
    files = (str(file) for file in distribution(package.name).files or [])
    return {found[1] for file in files if (found := re.match(r"\w+\.libs/(lib[A-Za-z0-9_]+)", file))}


def undecided(packages: dict[str, Package]) -> list[str]:
    """Return what is neither allowed nor decided on, and decisions that are no longer needed."""
    wrong = [
        f"{package.name} {package.version}: {package.licence}"
        for package in packages.values()
        if not is_allowed(package.licence) and DECIDED.get(package.name, ("",))[0] != package.licence
    ]
    wrong += [f"{name}: DECIDED names it, nothing installs it" for name in DECIDED if name not in packages]
    for package in packages.values():
        new = libraries_of(package) - PERMISSIVE_LIBRARIES - set(LIBRARIES)
        wrong += [
            f"{package.name} {package.version} carries {name}: its licence is not on the lists"
            for name in new
        ]
    return sorted(wrong)


PAGE_TEXT = """\
# Licences of dependencies

scalpdesk is under the MIT licence. The {core} packages of its core are under permissive licences. So are
those of the extras, but for {decided} under weak copyleft: {copyleft}.
No package is under the GPL or AGPL. `make check` fails on a licence that is neither allowed nor decided on.

Versions are those of the locks. Licences are what the installed packages state, as SPDX expressions.
The extra `ray` is in no lock and not listed. `make sbom` writes a
[bill of materials](../start/wheel.md#what-is-in-it) with the hash of every file.

## Decided

| package | licence | decision |
|---|---|---|
{decisions}

Allowed without a decision: {allowed}.

## Libraries inside wheels

Some wheels carry shared libraries of others. Those below are under copyleft: the exception of GCC's runtime
lets any program use it, and the LGPL any program that links to the library as it is. scalpdesk's wheel holds
no library: each comes with the wheel of its own package.

| package | library | licence |
|---|---|---|
{libraries}

## All packages

`core` is `pip install scalpdesk`; other words are extras. In bold: named by `pyproject.toml`, and
[why](../developing/decisions/0004-core-dependencies.md).

| package | version | licence | installed by |
|---|---|---|---|
{rows}
"""


def page(packages: dict[str, Package]) -> str:
    """Return the page of licences."""
    return PAGE_TEXT.format(
        core=sum(CORE in package.extras for package in packages.values()),
        decided=len(DECIDED),
        copyleft=", ".join(f"{name} ({licence})" for name, (licence, _) in DECIDED.items()),
        decisions="\n".join(f"| {name} | {licence} | {text} |" for name, (licence, text) in DECIDED.items()),
        allowed=", ".join(sorted(ALLOWED)),
        libraries="\n".join(
            f"| {package.name} | {library} | {LIBRARIES[library]} |"
            for package in packages.values()
            for library in sorted(libraries_of(package) & set(LIBRARIES))
        ),
        rows="\n".join(_row(package) for package in packages.values()),
    )


def _row(package: Package) -> str:
    name = f"**{package.name}**" if package.is_direct else package.name
    by = CORE if CORE in package.extras else ", ".join(sorted(package.extras))
    return f"| {name} | {package.version} | {package.licence} | {by} |"


def main(words: list[str]) -> int:
    """Check or write; return the exit code."""
    packages = product_packages()
    wrong = undecided(packages)
    if "--write" in words:
        PAGE.write_text(page(packages), "utf-8")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"licences: {len(packages)} packages, {len(wrong)} findings")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
