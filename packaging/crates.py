"""crates.py: the crates that are linked into the program of any board. For sbom.py and licences.py; run in the root of the sources."""
import json
import subprocess

TARGETS = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl", "armv7-unknown-linux-musleabihf", "arm-unknown-linux-musleabihf",
           "riscv64gc-unknown-linux-musl", "i686-unknown-linux-musl"]


def cargo(*arguments: str) -> str:
    return subprocess.run(["cargo", *arguments], check=True, capture_output=True, text=True).stdout


def linked() -> set[tuple[str, str]]:
    """Names and versions."""
    tree = cargo("tree", "--locked", "--package", "tinclaw", "--features", "cli", "--edges", "normal,no-proc-macro", "--prefix", "none",
                 "--format", "{p}", *(f"--target={target}" for target in TARGETS))
    words = (line.split() for line in tree.splitlines() if line.strip())
    return {(name, version.removeprefix("v")) for name, version, *_ in words}


def packages() -> list[dict]:
    """What cargo knows about each of them, but for the program's own package."""
    wanted = linked()
    known = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--features", "cli"))["packages"]
    found = [package for package in known if (package["name"], package["version"]) in wanted and package["name"] != "tinclaw"]
    return sorted(found, key=lambda package: (package["name"], package["version"]))
