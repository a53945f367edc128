#!/usr/bin/env python3
"""licences.py [--list]: what the program is made of: name, version and licence of each crate in it, one a line; then the texts of the licences, each
once, with the crates whose it is. With --list only the lines.

Run in the root of the sources. The texts are the files that the crates bring; a crate without one is under the text of another with its licence.
"""
import pathlib
import sys

from crates import packages

NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE")


def texts(package: dict) -> list[str]:
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name.upper().startswith(NAMES))
    return [file.read_text(encoding="utf-8", errors="replace").strip() for file in files]


def main() -> None:
    crates = packages()
    for package in crates:
        print(package["name"], "v" + package["version"], package["license"] or "see its text")
    if sys.argv[1:] == ["--list"]:
        return
    # Texts that differ in their line breaks alone are the same.
    owners: dict[str, tuple[str, list[str]]] = {}
    for package in crates:
        for text in texts(package):
            owners.setdefault(" ".join(text.split()), (text, []))[1].append(f"{package['name']} {package['version']}")
    for text, names in owners.values():
        print("\n" + "-" * 100 + f"\n{', '.join(names)}:\n\n{text}")


main()
