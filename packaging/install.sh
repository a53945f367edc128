#!/bin/sh
# install.sh: installs tinclaw for this processor after it has checked what it fetched.
#
#   sh install.sh                                  into /usr/local/bin as root, into ~/.local/bin otherwise
#   sh install.sh --to DIRECTORY --from URL --key FILE_OR_KEY
#
# SHA256SUMS must list the archive with its sum. With a minisign key SHA256SUMS must be signed by it, and `minisign` must be installed; a
# release that was made with a key brings it here. `--unsigned` is the only way around a key. Needs curl or wget, tar, sha256sum.
set -eu
version='@VERSION@' url='@URL@' key='@KEY@' to='' unsigned=''

fail() { echo "install.sh: $*" >&2; exit 1; }

while [ $# -gt 0 ]; do
  case $1 in
    --to | --from | --key) [ $# -ge 2 ] || fail "$1 needs a value"; case $1 in --to) to=$2 ;; --from) url=$2 ;; --key) key=$2 ;; esac; shift 2 ;;
    --unsigned) unsigned=yes; shift ;;
    -h | --help) sed -n '2,9p' "$0"; exit 0 ;;
    *) fail "unknown argument $1" ;;
  esac
done
case $url in '' | @*) fail 'no address to fetch from: --from URL' ;; esac
case $key in @*) key='' ;; esac
if [ -f "$key" ]; then key=$(tail -n 1 "$key"); fi

# The kernel of a 64-bit Pi may run a 32-bit system.
bits=$(getconf LONG_BIT 2>/dev/null || echo unknown)
case $(uname -s)-${TINCLAW_MACHINE:-$(uname -m)} in
  Linux-x86_64) if [ "$bits" = 32 ]; then target=i686-unknown-linux-musl; else target=x86_64-unknown-linux-musl; fi ;;
  Linux-i?86) target=i686-unknown-linux-musl ;;
  Linux-aarch64) if [ "$bits" = 32 ]; then target=armv7-unknown-linux-musleabihf; else target=aarch64-unknown-linux-musl; fi ;;
  Linux-armv7l | Linux-armv8l) target=armv7-unknown-linux-musleabihf ;;
  Linux-armv6l) target=arm-unknown-linux-musleabihf ;;
  Linux-riscv64) target=riscv64gc-unknown-linux-musl ;;
  *) fail "there is no program for $(uname -s) on ${TINCLAW_MACHINE:-$(uname -m)}" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch() {
  if command -v curl >/dev/null; then curl -fsSL -o "$work/$1" "$url/$1"; else wget -q -O "$work/$1" "$url/$1"; fi || fail "$url/$1 cannot be fetched"
}

fetch SHA256SUMS
if [ -n "$unsigned" ]; then
  echo 'install.sh: the signature is not checked' >&2
elif [ -n "$key" ]; then
  command -v minisign >/dev/null || fail 'minisign is not installed, so the signature cannot be checked'
  fetch SHA256SUMS.minisig
  minisign -Vq -P "$key" -m "$work/SHA256SUMS" -x "$work/SHA256SUMS.minisig" >/dev/null || fail 'SHA256SUMS is not signed by the key of this project'
else
  fail 'there is no key to check the signature with: --key, or --unsigned'
fi

archive=tinclaw-$version-$target.tar.gz
line=$(grep -E "^[0-9a-f]{64} [ *]$archive\$" "$work/SHA256SUMS") || fail "SHA256SUMS does not list $archive"
fetch "$archive"
(cd "$work" && echo "$line" | sha256sum -c - >/dev/null 2>&1) || fail "$archive has another sum than SHA256SUMS says"
tar -xzf "$work/$archive" -C "$work"

if [ -z "$to" ]; then if [ "$(id -u)" = 0 ]; then to=/usr/local/bin; else to=$HOME/.local/bin; fi; fi
mkdir -p "$to"
# Beside the old one and then renamed, so that a running one goes on.
cp "$work/tinclaw-$version-$target/tinclaw" "$to/.tinclaw.new"
chmod 755 "$to/.tinclaw.new"
mv "$to/.tinclaw.new" "$to/tinclaw"
echo "tinclaw $version is $to/tinclaw"
