#!/usr/bin/env bash
# install-test.sh: what install.sh takes and what it refuses, with a release of files in a directory. Needs minisign.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0

# A release whose program is a script.
mkdir -p "$work/release" "$work/other" "$work/stage"
minisign -GWf -p "$work/key.pub" -s "$work/key" >/dev/null
minisign -GWf -p "$work/other.pub" -s "$work/other/key" >/dev/null
for target in x86_64-unknown-linux-musl arm-unknown-linux-musleabihf aarch64-unknown-linux-musl; do
  name=tinclaw-9.9.9-$target
  mkdir -p "$work/stage/$name"
  printf '#!/bin/sh\necho %s\n' "$target" >"$work/stage/$name/tinclaw"
  chmod 755 "$work/stage/$name/tinclaw"
  tar -C "$work/stage" -czf "$work/release/$name.tar.gz" "$name"
done
(cd "$work/release" && sha256sum -- *.tar.gz >SHA256SUMS)
minisign -S -s "$work/key" -m "$work/release/SHA256SUMS" >/dev/null
sed -e 's/@VERSION@/9.9.9/' -e "s|@URL@|file://$work/release|" packaging/install.sh >"$work/install.sh"

# install MACHINE ARGUMENT…
install() { local machine=$1; shift; TINCLAW_MACHINE=$machine sh "$work/install.sh" --to "$work/bin" "$@" >"$work/out" 2>&1; }
check() { local what=$1; shift; if "$@"; then passed=$((passed + 1)); echo "ok   $what"; else echo "FAIL $what"; sed 's/^/     | /' "$work/out"; exit 1; fi; }
# refused TEXT ARGUMENT…: it fails with this text and installs nothing.
refused() {
  local text=$1; shift
  rm -rf "$work/bin"
  ! install "$@" && grep -qF -- "$text" "$work/out" && [ ! -e "$work/bin/tinclaw" ]
}
installed() { [ "$("$work/bin/tinclaw")" = "$1" ]; }

check 'a signed release is installed' install x86_64 --key "$work/key.pub"
check 'it is the program of this processor' installed x86_64-unknown-linux-musl
check 'a Pi Zero gets the ARMv6 program' install armv6l --key "$work/key.pub"
check 'which replaces the other one' installed arm-unknown-linux-musleabihf
check 'the key may be given as text' install x86_64 --key "$(tail -n 1 "$work/key.pub")"
check 'another key is refused' refused 'not signed by the key' x86_64 --key "$work/other.pub"
check 'no key is refused' refused 'no key to check' x86_64
check 'unless it is said' install x86_64 --unsigned
check 'an unknown processor is refused' refused 'no program for' sparc --key "$work/key.pub"
check 'a release without this processor is refused' refused 'does not list' riscv64 --unsigned
printf x >>"$work/release/tinclaw-9.9.9-x86_64-unknown-linux-musl.tar.gz"
check 'a changed archive is refused' refused 'another sum' x86_64 --key "$work/key.pub"
(cd "$work/release" && sha256sum -- *.tar.gz >SHA256SUMS)
check 'changed sums are refused' refused 'not signed by the key' x86_64 --key "$work/key.pub"
echo "$passed passed, 0 failed"
