#!/usr/bin/env bash
# reproducible.sh DIST TARGET…: builds the targets once more, from a clone of this commit in another folder, and compares the bytes with those that
# release.sh left in DIST. Takes as long as a release.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
dist=$(realpath "$1"); shift
cd "$(dirname "$0")/.."
[ -z "$(git status --porcelain)" ] || { echo 'the sources have changes that no commit has' >&2; exit 2; }
again=$(mktemp -d "${TMPDIR:-/tmp}/another-folder.XXXXXX")
trap 'rm -rf "$again"' EXIT
git clone --quiet --no-hardlinks . "$again/clone"
(cd "$again/clone" && CARGO_TARGET_DIR="$again/target" TINCLAW_DIST="$again/dist" packaging/release.sh "$@") >&2
same=0
for board in "$@"; do
  for file in "$board/tinclaw" $(cd "$again/dist" && ls ./*.deb ./*.tar.gz licences.txt ./*.cdx.json 2>/dev/null); do
    if cmp "$dist/$file" "$again/dist/$file"; then same=$((same + 1)); else echo "different: $file"; exit 1; fi
  done
done
echo "$same files have the same bytes: $*"
