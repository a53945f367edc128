#!/usr/bin/env bash
# oci-test.sh DIST: runs the image in DIST for this processor as a container's runtime would: its layers and nothing else, read-only but for its
# volume, as its user, with its environment and its command. Needs root; no daemon.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
if [ -z "${TINCLAW_MOUNTS:-}" ]; then exec env TINCLAW_MOUNTS=1 unshare --mount bash "$(realpath "$0")" "$(realpath "$1")"; fi
mount --make-rprivate /
work=$(mktemp -d) host=
trap '[ -z "$host" ] || kill -9 "$host" 2>/dev/null || true; umount -l "$work"; rmdir "$work"' EXIT
mount -t tmpfs -o size=256m tmpfs "$work"
mkdir "$work/root"

# The layers go into `root`; the user, the environment and the command into `settings`.
python3 - "$1/image" "$work" <<'PYTHON'
import json, pathlib, platform, shlex, sys, tarfile
layout, work = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
architecture = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}[platform.machine()]
blob = lambda descriptor: layout / "blobs" / descriptor["digest"].replace(":", "/")
read = lambda descriptor: json.loads(blob(descriptor).read_text())
images = read(json.loads((layout / "index.json").read_text())["manifests"][0])["manifests"]
image = read(next(image for image in images if image["platform"]["architecture"] == architecture))
for layer in image["layers"]:
    tarfile.open(blob(layer)).extractall(work / "root", numeric_owner=True)
config = read(image["config"])["config"]
quote = lambda words: " ".join(shlex.quote(word) for word in words)
(work / "settings").write_text(f"user={config['User']}\nvariables=({quote(config['Env'])})\n"
                               f"command=({quote(config['Entrypoint'] + config['Cmd'])})\n")
PYTHON
. "$work/settings"
mount --bind "$work/root" "$work/root"
mount --bind "$work/root/state" "$work/root/state"
# What every runtime adds.
mkdir -p "$work/root/dev" "$work/root/proc"
mount -t tmpfs -o size=1m tmpfs "$work/root/dev"
touch "$work/root/dev/null" && mount --bind /dev/null "$work/root/dev/null"
mkdir "$work/root/dev/shm" && mount -t tmpfs -o size=1m tmpfs "$work/root/dev/shm"
mount -t proc proc "$work/root/proc"
mount -o remount,ro,bind "$work/root"

# Another port than the image's, since the network is the machine's.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
command=("${command[@]/0.0.0.0:8080/127.0.0.1:$port}")
env -i "${variables[@]}" "$(command -v chroot)" --userspec="$user" "$work/root" "${command[@]}" --webchat >"$work/log" 2>&1 &
host=$!
for _ in $(seq 300); do grep -q 'channel webchat is ready' "$work/log" && break; kill -0 "$host" 2>/dev/null || break; sleep 0.1; done
grep -q 'channel webchat is ready' "$work/log" || { cat "$work/log"; exit 1; }
echo 'ok   the image runs read-only, as its user'
[ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/chat")" = 200 ] || { cat "$work/log"; exit 1; }
echo 'ok   it serves'
[ "$(stat -c %u "$work/root/state/tinclaw.db")" = "${user%:*}" ]
echo 'ok   its state lies in its volume'
kill -TERM "$host"
code=0
wait "$host" || code=$?
host=
[ "$code" = 0 ] || { echo "exit code $code"; cat "$work/log"; exit 1; }
echo 'ok   it ends with 0 when it is stopped'
