#!/usr/bin/env bash
# read-only.sh PROGRAM: the smoke test on a system whose root is read-only and whose /tmp takes nothing, as on boards that spare their card: only
# the directory of the test can be written. Needs root, for mounts of its own that end with it; where none can be made it ends with 77.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
unshare --mount true 2>/dev/null || { echo 'skipped: no mounts can be made here'; exit 77; }
program=$(realpath "$1") smoke=$(realpath "$(dirname "$0")/smoke.sh")
exec unshare --mount bash -euc '
  mount --make-rprivate /
  # What lies in /tmp is not seen any more.
  work=/run
  mount -t tmpfs -o size=256m tmpfs "$work"
  cp "$1" "$work/tinclaw"
  cp "$2" "$work/smoke.sh"
  mount -t tmpfs -o ro,size=4k tmpfs /tmp
  mount -t tmpfs -o ro,size=4k tmpfs /var/tmp
  mount -o remount,ro,bind /
  ! touch /tmp/x /x 2>/dev/null || { echo "the system can still be written"; exit 1; }
  cd "$work"
  TMPDIR=$work bash "$work/smoke.sh" "$work/tinclaw"
' bash "$program" "$smoke"
