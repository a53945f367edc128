#!/usr/bin/env bash
# toolchain.sh: what cross builds need: the boards' targets, a linker and a C compiler for all of them (zig), a Rust compiler whose
# standard library is there for a target, an emulator. For other scripts to source; what it installs lies in $TINCLAW_TOOLS
# (default: ~/.cache/tinclaw-tools) and is found there the next time.
#
# The compiler is the first of these that can be had:
#   $TINCLAW_STD_RUSTC   a rustc with the source of its standard library beside it, which cargo then builds (`-Zbuild-std`)
#   rustup               `rustup target add`; not for 32 bits, where the clock of the library that comes ready made ends in 2038
#   rustup               `rustup component add rust-src`: the same as the first one
#   Debian's rustc-web   the same as the first one, unpacked from Debian's packages (needs apt-get)
TINCLAW_TOOLS=${TINCLAW_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tinclaw-tools}
BOARDS=(x86_64 aarch64 armv7 armv6 riscv64gc i686)

# triple_of BOARD
triple_of() {
  case $1 in
    x86_64 | aarch64 | riscv64gc | i686) echo "$1-unknown-linux-musl" ;;
    armv7) echo armv7-unknown-linux-musleabihf ;;
    armv6) echo arm-unknown-linux-musleabihf ;;
    *) echo "no such target: $1 (there are: ${BOARDS[*]})" >&2; return 2 ;;
  esac
}

# set_emulator BOARD: the array `emulator`; empty where the machine runs the program itself.
set_emulator() {
  emulator=()
  case $(uname -m)-$1 in
    x86_64-x86_64 | x86_64-i686 | aarch64-aarch64 | armv7l-armv7 | armv7l-armv6 | armv6l-armv6 | riscv64-riscv64gc) return ;;
  esac
  case $1 in
    x86_64) emulator=(qemu-x86_64) ;;
    i686) emulator=(qemu-i386) ;;
    aarch64) emulator=(qemu-aarch64 -cpu cortex-a53) ;;
    armv7) emulator=(qemu-arm -cpu cortex-a7) ;;
    armv6) emulator=(qemu-arm -cpu arm1176) ;;
    riscv64gc) emulator=(qemu-riscv64) ;;
  esac
}

apt_install() {
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || { echo "apt-get cannot install $* here" >&2; return 1; }
  [ -n "${apt_updated:-}" ] || { apt-get update -qq && apt_updated=1; } || return 1
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

need_emulator() {
  command -v qemu-arm >/dev/null || apt_install qemu-user
}

# zig is a linker, a C compiler and a musl for every target; cargo-zigbuild has cargo use it.
need_zig() {
  local venv=$TINCLAW_TOOLS/zig
  export PATH=$venv/bin:$PATH ZIG_GLOBAL_CACHE_DIR=${ZIG_GLOBAL_CACHE_DIR:-$TINCLAW_TOOLS/zig-cache}
  command -v cargo-zigbuild >/dev/null && return
  python3 -m venv "$venv" || { apt_install python3-venv && python3 -m venv "$venv"; } || return 1
  "$venv/bin/pip" install --quiet --disable-pip-version-check ziglang cargo-zigbuild
}

# Writes the list of crates into the program, where `cargo audit bin` and scanners of images read it.
need_auditable() {
  export PATH=$TINCLAW_TOOLS/bin:$PATH
  command -v cargo-auditable >/dev/null || cargo install --quiet --locked --root "$TINCLAW_TOOLS" cargo-auditable
}

# need_rustc TRIPLE: the array `build_std`, for cargo's command line, and where needed RUSTC.
need_rustc() {
  build_std=()
  unset RUSTC RUSTC_BOOTSTRAP __CARGO_TESTS_ONLY_SRC_ROOT
  if [ -z "${TINCLAW_STD_RUSTC:-}" ]; then
    case $1 in
      arm* | i686*) ;;
      *) if has_target "$1" || rustup target add "$1" >/dev/null 2>&1; then return; fi ;;
    esac
    if ! has_std_source && ! rustup component add rust-src >/dev/null 2>&1; then
      need_debian_rustc || { echo "no Rust compiler for $1: neither rustup nor Debian's packages have one; set TINCLAW_STD_RUSTC" >&2; return 1; }
    fi
  fi
  [ -z "${TINCLAW_STD_RUSTC:-}" ] || export RUSTC=$TINCLAW_STD_RUSTC
  # `-Z` is not for stable compilers otherwise; what it builds is this compiler's own library.
  export RUSTC_BOOTSTRAP=1
  build_std=(-Zbuild-std=std,panic_unwind)
  case $1 in arm* | i686*) need_long_clock ;; esac
}

# The standard library for a 32-bit musl asks for the time in 32 bits, which end in January 2038: every look at the clock panics then. For glibc it
# calls `__clock_gettime64`, which musl has too. A copy of the library does so for both; the variable that names it is cargo's own tests'.
need_long_clock() {
  local source copy rustc=${RUSTC:-rustc}
  source=$("$rustc" --print sysroot)/lib/rustlib/src/rust/library
  copy=$TINCLAW_TOOLS/std-$("$rustc" --version | tr -c '[:alnum:]\n' -)
  export __CARGO_TESTS_ONLY_SRC_ROOT=$copy/library
  [ ! -d "$copy" ] || return 0
  rm -rf "$copy.new" && mkdir -p "$copy.new" && cp -rL "$source" "$copy.new/library" &&
    perl -0pi -e 's/target_env = "gnu"(?=,\s*target_pointer_width = "32")/any(target_env = "gnu", target_env = "musl")/g' \
      "$copy.new/library/std/src/sys/pal/unix/time.rs" &&
    grep -q 'target_env = "musl"' "$copy.new/library/std/src/sys/pal/unix/time.rs" && mv "$copy.new" "$copy" ||
    { echo "the clock of this standard library is another one; its programs may end in 2038" >&2; unset __CARGO_TESTS_ONLY_SRC_ROOT; }
}

has_target() { ls "$(rustc --print sysroot)/lib/rustlib/$1/lib"/libstd-*.rlib >/dev/null 2>&1; }
has_std_source() { [ -f "$(rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]; }

# The compiler that Debian builds browsers with is as new as they need, and its library's source is a package.
need_debian_rustc() {
  local root=$TINCLAW_TOOLS/rustc version work
  export TINCLAW_STD_RUSTC=$root/rustc
  [ ! -x "$TINCLAW_STD_RUSTC" ] || return 0
  [ "$(uname -m)" = x86_64 ] || return 1
  apt_install libllvm22 || return 1
  version=$(apt-cache policy rustc-web | sed -n 's/.*Candidate: \([0-9]*\.[0-9]*\).*/\1/p')
  work=$(mktemp -d)
  (
    cd "$work" && chmod 755 . &&
      apt-get download -qq rustc-web rust-web-src libstd-rust-web-dev "libstd-rust-web-$version" &&
      mkdir -p "$root" && for package in *.deb; do dpkg -x "$package" "$root/root" || exit 1; done
  ) || { rm -rf "$work"; return 1; }
  rm -rf "$work"
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$root/root/usr/lib/x86_64-linux-gnu" "$root/root/usr/bin/rustc" >"$root/rustc.new"
  chmod +x "$root/rustc.new" && mv "$root/rustc.new" "$root/rustc"
}

# cross_cargo TRIPLE COMMAND…: `cargo zigbuild` or `cargo-zigbuild test` with arguments, for a static, position-independent program.
# $CROSS_RUSTFLAGS are further flags, one a line.
cross_cargo() {
  local triple=$1 flags flag command=() rest=()
  shift
  # The options go before those of the tests.
  while [ $# -gt 0 ] && [ "$1" != -- ]; do command+=("$1"); shift; done
  rest=("$@")
  # What zig brings is used in place of rustc's own start files, and `-static-pie` is unknown to it.
  flags=(-C link-self-contained=no -C target-feature=+crt-static -C relocation-model=pic -C link-arg=-pie)
  while IFS= read -r flag; do [ -z "$flag" ] || flags+=("$flag"); done <<<"${CROSS_RUSTFLAGS:-}"
  # On 32 bits the crate `libc` has the types of old musls, unless it is told that this one is new.
  RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1 CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; echo "${flags[*]}") \
    "${command[@]}" "${build_std[@]}" --target "$triple" "${rest[@]}"
}
