#!/usr/bin/env python3
"""sbom.py VERSION: the program's bill of materials in CycloneDX 1.5, from Cargo.lock and cargo's metadata.

The same sources give the same bytes: no serial number, no date. Only what is linked into the program is listed.
"""
import json
import sys

from crates import packages


def component(package: dict, checksums: dict) -> dict:
    name, version = package["name"], package["version"]
    found = {"type": "library", "bom-ref": f"pkg:cargo/{name}@{version}", "name": name, "version": version,
             "purl": f"pkg:cargo/{name}@{version}"}
    if package["license"]:
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((name, version)):
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


def lock_checksums() -> dict:
    """From the lines of Cargo.lock, which cargo writes in a fixed order."""
    found, name, version = {}, "", ""
    for line in open("Cargo.lock", encoding="utf-8"):
        key, _, value = line.strip().partition(" = ")
        value = value.strip('"')
        if key == "name":
            name = value
        elif key == "version":
            version = value
        elif key == "checksum":
            found[name, version] = value
    return found


def main() -> None:
    version = sys.argv[1]
    checksums = lock_checksums()
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
            "metadata": {"component": {"type": "application", "bom-ref": "tinclaw", "name": "tinclaw", "version": version,
                                       "licenses": [{"expression": "MIT"}]}},
            "components": [component(package, checksums) for package in packages()]}
    json.dump(bill, sys.stdout, indent=1)
    print()


main()
