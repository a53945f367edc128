#!/usr/bin/env bash
# release.sh [TARGET…]: a release, in the directory `dist` ($TINCLAW_DIST): for each target a static program, its archive and, for
# Debian's architectures, its package; then licences, a bill of materials (CycloneDX), SHA-256 sums, and a table of sizes.
#
#   packaging/release.sh                     all targets
#   packaging/release.sh armv6 aarch64       these
#   MINISIGN_KEY=~/.minisign/minisign.key MINISIGN_PUBLIC_KEY=minisign.pub TINCLAW_RELEASE_URL=https://… packaging/release.sh
#                                            signs the sums; the install script knows the key and the place
#
# Targets: x86_64 aarch64 armv7 armv6 riscv64gc i686. The same commit, compiler and tools give the same bytes, in whichever directory.
# What it needs beside cargo it installs (see toolchain.sh). $CARGO_PROFILE is `release`; `pi` optimises in parts.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/toolchain.sh
[ $# -gt 0 ] || set -- "${BOARDS[@]}"
for board in "$@"; do triple_of "$board" >/dev/null; done

profile=${CARGO_PROFILE:-release}
dist=${TINCLAW_DIST:-dist}
mkdir -p "$dist"
dist=$(realpath "$dist")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/boards}

need_zig
need_auditable

# No path of this machine in the program: neither of the sources, nor of the crates, nor of the standard library.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
paths=("$CARGO_TARGET_DIR=/build" "$cargo_home/registry/src=/crates" "$PWD=/tinclaw")
export TARGET_CFLAGS="${paths[*]/#/-ffile-prefix-map=}"

build() {
  local triple=$1 sysroot remapped
  need_rustc "$triple"
  sysroot=$("${RUSTC:-rustc}" --print sysroot)
  # The last rule that fits counts.
  remapped=("$sysroot=/rust")
  [ -z "${__CARGO_TESTS_ONLY_SRC_ROOT:-}" ] || remapped+=("$__CARGO_TESTS_ONLY_SRC_ROOT=/rust/lib/rustlib/src/rust/library")
  remapped+=("$PWD=/tinclaw" "$cargo_home/registry/src=/crates" "$CARGO_TARGET_DIR=/build")
  CROSS_RUSTFLAGS=$(printf -- '--remap-path-prefix=%s\n' "${remapped[@]}") \
    cross_cargo "$triple" cargo auditable zigbuild --profile "$profile" --locked --package tinclaw --features cli
}

archive() {
  local name=tinclaw-$version-$1 stage
  stage=$(mktemp -d)
  install -D -m 755 "$2" "$stage/$name/tinclaw"
  install -m 644 LICENSE CHANGELOG.md docs/tinclaw.toml packaging/systemd/tinclaw.service "$dist/licences.txt" "$stage/$name/"
  tar -C "$stage" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf - "$name" |
    gzip -9n >"$dist/$name.tar.gz"
  rm -rf "$stage"
}

packaging/licences.py >"$dist/licences.txt"
packaging/sbom.py "$version" >"$dist/tinclaw-$version.cdx.json"
for board in "$@"; do
  triple=$(triple_of "$board")
  echo "== $triple"
  build "$triple"
  mkdir -p "$dist/$board"
  cp "$CARGO_TARGET_DIR/$triple/$profile/tinclaw" "$dist/$board/tinclaw"
  archive "$triple" "$dist/$board/tinclaw"
done

# Debian's armhf is ARMv7; the package has the ARMv6 program, so that it runs on every Raspberry Pi.
for pair in x86_64:amd64 aarch64:arm64 armv6:armhf; do
  program=$dist/${pair%:*}/tinclaw
  [ ! -f "$program" ] || TINCLAW=$dist/x86_64/tinclaw packaging/deb.sh "$program" "${pair#*:}" "$dist"
done

packaging/oci.py "$dist" "$version"
tar -C "$dist/image" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf "$dist/tinclaw-$version-image.tar" .

# The install script of this release: where it is, and whose signature counts.
key=${MINISIGN_PUBLIC_KEY:-}
[ ! -f "$key" ] || key=$(tail -n 1 "$key")
sed -e "s|@VERSION@|$version|" -e "s|@URL@|${TINCLAW_RELEASE_URL:-@URL@}|" -e "s|@KEY@|${key:-@KEY@}|" packaging/install.sh >"$dist/install.sh"

(cd "$dist" && find . -maxdepth 1 -type f \( -name '*.tar.gz' -o -name '*.tar' -o -name '*.deb' -o -name '*.json' -o -name 'licences.txt' \) -printf '%f\n' |
  LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
[ -z "${MINISIGN_KEY:-}" ] || minisign -S -s "$MINISIGN_KEY" -m "$dist/SHA256SUMS" -t "tinclaw $version"
packaging/boards-table.sh "$dist" >"$dist/table.md"
cat "$dist/table.md"
