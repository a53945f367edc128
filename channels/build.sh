#!/usr/bin/env bash
# Builds the channels into their folders (channels/NAME/NAME.wasm) and writes their digests into channels/digests.txt.
#
#   channels/build.sh              all of them
#   channels/build.sh telegram     only these
#
# tools/build.sh does the same for tools, with PLACE=tools.
#
# The standard library is built with the channels, without words for panics, which nobody would see: that makes them an eighth
# smaller. It needs its source (`rustup component add rust-src`). Elsewhere GUEST_RUST_SH names a script that gives a shell
# function `guest_cargo`, which is cargo with a compiler for the target and that source. Binaryen's `wasm-opt` makes the
# channels a seventh smaller; the digests are those of version 108 (Debian 12: `apt-get install binaryen`).
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

place=${PLACE:-channels}
kind=${place%s}
target=wasm32-unknown-unknown
names() { for file in "$place"/*/*.capabilities.json; do basename "$file" .capabilities.json; done; }

have_source() { [ -d "$("${RUSTC:-rustc}" --print sysroot)/lib/rustlib/src/rust/library" ]; }

guest_build() {
  local sysroot own
  # No path of the machine that builds ends in a guest.
  sysroot=$("${RUSTC:-rustc}" --print sysroot)
  local flags="\"-Zunstable-options\", \"-Cpanic=immediate-abort\", \"-Zfmt-debug=none\""
  flags="$flags, \"--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo\", \"--remap-path-prefix=$PWD=tinclaw\""
  if [ -n "${GUEST_RUST_SH:-}" ]; then
    # shellcheck source=/dev/null
    . "$GUEST_RUST_SH"
    # Where that script keeps a compiler of its own.
    own=${GUEST_RUST:-$sysroot}
    flags="$flags, \"--remap-path-prefix=$own=rust\", \"--remap-path-prefix=$own/root=rust\""
    (cd "$place" && GUEST_TARGET=$target guest_cargo "$@" -Zbuild-std-features=optimize_for_size \
      --config "target.$target.rustflags=[$flags]")
  elif have_source; then
    flags="$flags, \"--remap-path-prefix=$sysroot=rust\""
    (cd "$place" && RUSTC_BOOTSTRAP=1 cargo --config "target.$target.rustflags=[$flags]" "$@" --target "$target" \
      -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size)
  else
    echo "build.sh: no source of the standard library: run \`rustup component add rust-src\`, or set GUEST_RUST_SH" >&2
    return 1
  fi
}

build() {
  local name=$1 module
  echo "== $name"
  guest_build build --release --locked -p "$name"
  module="${CARGO_TARGET_DIR:-$place/target}/$target/release/$name.wasm"
  wasm-opt -Oz --converge --strip-debug --strip-producers --enable-bulk-memory --enable-sign-ext --enable-mutable-globals \
    --enable-nontrapping-float-to-int "$module" -o "$module.small"
  module="$module.small"
  cargo run --quiet --locked --manifest-path fixtures/tool/Cargo.toml -- component "$module" "$place/$name/$name.wasm"
}

# The sources of a guest, one path a line, sorted: its crate, the kit, what all crates share, and the tool.
sources() {
  find "$place/$1" "$place/kit" "$place/Cargo.toml" "$place/Cargo.lock" "$place/.cargo/config.toml" \
    fixtures/tool/Cargo.toml fixtures/tool/Cargo.lock fixtures/tool/src \
    -type f ! -name '*.wasm' ! -name '*.capabilities.json' | sort
}

digest() { sha256sum | cut -d ' ' -f 1; }

# Name, digest of the sources (digest and path of each file), digest of the binary.
digests_of() {
  local name=$1 source
  source=$(sources "$name" | while read -r file; do sha256sum "$file"; done | digest)
  echo "$name $source $(digest <"$place/$name/$name.wasm")"
}

is_wanted() { [ "$wanted" = "  " ] || [[ "$wanted" == *" $1 "* ]]; }

wasm-opt --version | grep -q 'version 108' ||
  { echo "build.sh: wasm-opt of binaryen 108 is needed, which Debian 12 has" >&2; exit 1; }

wanted=" $* "
names | while read -r name; do
  if is_wanted "$name"; then build "$name" </dev/null; fi
done

touch "$place/digests.txt"
{
  echo "# Written by build.sh. ${kind^}, SHA-256 of its sources, SHA-256 of its binary."
  names | while read -r name; do
    # The line of a channel that was not built now stays as it was.
    if is_wanted "$name"; then digests_of "$name"; else grep "^$name " "$place/digests.txt" || true; fi
  done
} >"$place/digests.txt.new"
mv "$place/digests.txt.new" "$place/digests.txt"

# The archive that the program carries (src/channel/archive.rs says its format).
files() {
  for name in $(names); do echo "$place/$name/$name.wasm"; echo "$place/$name/$name.capabilities.json"; done
  # What `tinclaw new` writes beside a new channel.
  if [ "$place" = channels ]; then find channels/kit -type f | sort; fi
}
# Files of the kit have their path as name, the others the last part of it.
name_in_archive() { case $1 in channels/kit/*) echo "${1#channels/}" ;; *) basename "$1" ;; esac; }
{
  for file in $(files); do echo "$(wc -c <"$file" | tr -d ' ') $(name_in_archive "$file")"; done
  echo
  for file in $(files); do cat "$file"; done
} | xz -9e --check=crc32 >"$place/bundle.xz"
