#!/usr/bin/env bash
# deb.sh PROGRAM ARCHITECTURE DIRECTORY: a Debian package of a program that is built already. The same input gives the same bytes.
# Needs `dpkg-deb`. $DEB_VERSION stands for the version of Cargo.toml. $TINCLAW, or PROGRAM itself where it runs, writes the manual pages and the completions.
set -euo pipefail
[ $# = 3 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
program=$(realpath "$1") arch=$2 out=$(realpath "$3")
cd "$(dirname "$0")/.."
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
version=${DEB_VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
install -D -m 755 "$program" "$root/usr/bin/tinclaw"
install -D -m 644 packaging/systemd/tinclaw.service "$root/lib/systemd/system/tinclaw.service"
install -D -m 644 packaging/systemd/tinclaw.sysusers "$root/usr/lib/sysusers.d/tinclaw.conf"
install -D -m 640 packaging/debian/tinclaw.toml "$root/etc/tinclaw/tinclaw.toml"
install -D -m 644 docs/tinclaw.toml "$root/usr/share/doc/tinclaw/tinclaw.toml"
install -D -m 644 LICENSE "$root/usr/share/doc/tinclaw/copyright"
gzip -9nc CHANGELOG.md >"$root/usr/share/doc/tinclaw/changelog.gz"
[ ! -f "$out/licences.txt" ] || gzip -9nc "$out/licences.txt" >"$root/usr/share/doc/tinclaw/licences.gz"
chmod 644 "$root"/usr/share/doc/tinclaw/*.gz

tinclaw=${TINCLAW:-$program}
if "$tinclaw" --version >/dev/null 2>&1; then
  mkdir -p "$root/usr/share/man/man1" "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions"
  "$tinclaw" man "$root/usr/share/man/man1" >/dev/null
  gzip -9n "$root"/usr/share/man/man1/*.1
  "$tinclaw" completions bash >"$root/usr/share/bash-completion/completions/tinclaw"
  "$tinclaw" completions zsh >"$root/usr/share/zsh/vendor-completions/_tinclaw"
fi

mkdir "$root/DEBIAN"
install -m 755 packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$root/DEBIAN/"
echo /etc/tinclaw/tinclaw.toml >"$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/control" <<CONTROL
Package: tinclaw
Version: $version
Architecture: $arch
Maintainer: the tinclaw authors <tinclaw@localhost>
Section: net
Priority: optional
Installed-Size: $(du -sk --apparent-size "$root" | cut -f 1)
Description: host for sandboxed chat channels
 Connects chats (Telegram, Slack, webhooks) to an agent or an automation.
 Each channel is a WebAssembly guest that nobody has to trust; the host owns
 the HTTP server, the polls, the secrets and the retries. One static program.
CONTROL

find "$root" -type d -exec chmod 755 {} +
chmod 750 "$root/etc/tinclaw"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/tinclaw_${version}_$arch.deb"
