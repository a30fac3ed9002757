"""Write the bill of materials of the wheel and its extras: CycloneDX JSON, by lock and installed metadata.

python release/sbom.py [FILE]   default: build/scalpdesk.cdx.json (make sbom)

The same lock gives the same bytes. Exit 1 when the document does not fit the schema or lacks a package of
``requirements/run.lock``.
"""

import json
import sys
import uuid
from importlib.metadata import version
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packages import CORE, ROOT, Package, product_packages, read_lock
from packageurl import PackageURL

OUT = ROOT / "build" / "scalpdesk.cdx.json"
RUN_LOCK = ROOT / "requirements" / "run.lock"

_licences = LicenseFactory()


def component_of(package: Package) -> Component:
    """Return a package as a component: its hashes are those of the files that the lock admits."""
    purl = PackageURL("pypi", name=package.name, version=package.version)
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(str(purl)),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in package.hashes],
    )
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=str(purl),
        purl=purl,
        scope=ComponentScope.REQUIRED if CORE in package.extras else ComponentScope.OPTIONAL,
        licenses=[_licences.make_from_string(package.licence)],
        external_references=[files],
        properties=[Property(name="scalpdesk:installed-by", value=extra) for extra in package.extras],
    )


def bill(packages: dict[str, Package]) -> str:
    """Return the bill of materials."""
    purl = PackageURL("pypi", name="scalpdesk", version=version("scalpdesk"))
    product = Component(
        name="scalpdesk",
        version=version("scalpdesk"),
        type=ComponentType.APPLICATION,
        bom_ref=str(purl),
        purl=purl,
        licenses=[_licences.make_from_string("MIT")],
    )
    components = {name: component_of(package) for name, package in packages.items()}
    needs = {name: [components[child].bom_ref for child in packages[name].requires] for name in packages}
    direct = [components[name].bom_ref for name, package in packages.items() if package.is_direct]
    listed = " ".join(f"{package.name}=={package.version}" for package in packages.values())
    bom = Bom(
        components=components.values(),
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{purl} {listed}"),
        dependencies=[
            Dependency(product.bom_ref, [Dependency(ref) for ref in direct]),
            *(
                Dependency(components[name].bom_ref, [Dependency(ref) for ref in refs])
                for name, refs in needs.items()
            ),
        ],
    )
    bom.metadata.component = product
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    del document["metadata"]["timestamp"]  # the same lock, the same document
    return json.dumps(document, indent=2) + "\n"


def faults_of(text: str) -> list[str]:
    """Return what is wrong with a bill of materials: its form, and packages of ``run.lock`` that it lacks."""
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        return [f"does not fit the schema of CycloneDX 1.6: {str(problem.data).partition(chr(10))[0]}"]
    named = {(component["name"], component["version"]) for component in json.loads(text)["components"]}
    locked = {(name, entry[0]) for name, entry in read_lock(RUN_LOCK).items()}
    return [f"lacks {name} {number} of {RUN_LOCK.name}" for name, number in sorted(locked - named)]


def main(words: list[str]) -> int:
    """Write and check; return the exit code."""
    out = Path(words[0]) if words else OUT
    packages = product_packages()
    text = bill(packages)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, "utf-8")
    faults = faults_of(text)
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"{out.name}: {len(packages)} packages, {len(text):,} bytes, {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
