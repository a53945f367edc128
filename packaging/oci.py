#!/usr/bin/env python3
"""oci.py DIST VERSION: a container image from scratch for every processor whose program is in DIST, as an OCI image layout (DIST/image).

    skopeo copy oci:dist/image docker-archive:tinclaw.tar     or     podman pull oci:dist/image

No daemon and no base image are needed: the program is static. The image has the program, a user without rights (65532) and its state
directory, nothing else; the certificate authorities are in the program. The same programs and $SOURCE_DATE_EPOCH give the same bytes.
Format: the OCI image specification 1.1.
"""
import datetime
import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import sys
import tarfile

USER = 65532
PLATFORMS = {
    "x86_64": {"architecture": "amd64"},
    "aarch64": {"architecture": "arm64", "variant": "v8"},
    "armv7": {"architecture": "arm", "variant": "v7"},
    "armv6": {"architecture": "arm", "variant": "v6"},
    "riscv64gc": {"architecture": "riscv64"},
    "i686": {"architecture": "386"},
}


class Layout:
    def __init__(self, root: pathlib.Path):
        self.root = root
        (root / "blobs/sha256").mkdir(parents=True)
        self.write("oci-layout", {"imageLayoutVersion": "1.0.0"})

    def write(self, name: str, value: dict) -> None:
        (self.root / name).write_bytes(encode(value))

    def blob(self, media_type: str, data: bytes) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        (self.root / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def encode(value: dict) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def layer(program: bytes, epoch: int) -> bytes:
    """A tar archive with the files of the image."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        def add(name: str, data: bytes | None, mode: int, owner: int = 0) -> None:
            entry = tarfile.TarInfo(name)
            entry.mtime, entry.mode, entry.uid, entry.gid = epoch, mode, owner, owner
            entry.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            entry.size = len(data or b"")
            tar.addfile(entry, io.BytesIO(data or b""))

        add("etc", None, 0o755)
        add("etc/passwd", f"tinclaw:x:{USER}:{USER}::/state:/\n".encode(), 0o644)
        add("etc/group", f"tinclaw:x:{USER}:\n".encode(), 0o644)
        add("state", None, 0o700, USER)
        add("tinclaw", program, 0o755)
    return out.getvalue()


def image(layout: Layout, program: bytes, platform: dict, epoch: int, version: str) -> dict:
    plain = layer(program, epoch)
    packed = gzip.compress(plain, 9, mtime=0)
    created = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = {
        "created": created, "os": "linux", **platform,
        "config": {
            "User": f"{USER}:{USER}",
            "Env": ["HOME=/state", "TINCLAW_STATE_DIR=/state", "XDG_DATA_HOME=/state/data", "XDG_CONFIG_HOME=/state/config"],
            "Entrypoint": ["/tinclaw"],
            "Cmd": ["run", "--listen", "0.0.0.0:8080"],
            "ExposedPorts": {"8080/tcp": {}},
            "Volumes": {"/state": {}},
            "WorkingDir": "/state",
            "StopSignal": "SIGTERM",
            "Labels": {"org.opencontainers.image.title": "tinclaw", "org.opencontainers.image.version": version,
                       "org.opencontainers.image.licenses": "MIT"},
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(plain).hexdigest()]},
        "history": [{"created": created, "created_by": "packaging/oci.py"}],
    }
    manifest = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": layout.blob("application/vnd.oci.image.config.v1+json", encode(config)),
        "layers": [layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", packed)],
    }
    return {**layout.blob(manifest["mediaType"], encode(manifest)), "platform": {"os": "linux", **platform}}


def main() -> None:
    dist, version = pathlib.Path(sys.argv[1]), sys.argv[2]
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    shutil.rmtree(dist / "image", ignore_errors=True)
    layout = Layout(dist / "image")
    programs = [(dist / board / "tinclaw", platform) for board, platform in PLATFORMS.items()]
    images = [image(layout, path.read_bytes(), platform, epoch, version) for path, platform in programs if path.is_file()]
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": images}
    # The layout's own index names the image's, so that one name stands for all processors.
    named = {**layout.blob(index["mediaType"], encode(index)), "annotations": {"org.opencontainers.image.ref.name": version}}
    layout.write("index.json", {"schemaVersion": 2, "mediaType": index["mediaType"], "manifests": [named]})


main()
