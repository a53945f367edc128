#!/usr/bin/env bash
# build-memory.sh COMMAND…: runs a build and prints how much memory it took at most: of all its processes together, and of the largest one. Looks
# five times a second (`VmRSS` and `VmHWM` in /proc/PID/status, proc(5)).
#
#   packaging/build-memory.sh cargo build --release --features cli --jobs 1
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
exec python3 - "$@" <<'PYTHON'
import pathlib, subprocess, sys, time

def processes():
    """Of each process: its parent, its memory now and at most, in KiB."""
    found = {}
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            lines = (directory / "status").read_text().splitlines()
        except OSError:
            continue  # It has ended.
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        kib = lambda name: int(fields.get(name, "0 kB").split()[0])
        found[int(directory.name)] = int(fields["PPid"]), kib("VmRSS"), kib("VmHWM")
    return found

def below(root, found):
    children = {}
    for process, (parent, *_) in found.items():
        children.setdefault(parent, []).append(process)
    todo, all_of_them = [root], []
    while todo:
        process = todo.pop()
        all_of_them.append(process)
        todo += children.get(process, [])
    return [found[process] for process in all_of_them if process in found]

build = subprocess.Popen(sys.argv[1:])
together = largest = 0
while build.poll() is None:
    family = below(build.pid, processes())
    together = max(together, sum(now for _, now, _ in family))
    largest = max([largest] + [most for _, _, most in family])
    time.sleep(0.2)
print(f"at most {together // 1024} MiB of memory, {largest // 1024} MiB in one process", file=sys.stderr)
sys.exit(build.returncode)
PYTHON
