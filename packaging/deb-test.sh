#!/usr/bin/env bash
# deb-test.sh PACKAGE NEWER_PACKAGE: the life of the Debian package: installed, run as its user, upgraded with messages waiting, removed, purged.
# Needs root and a Debian; everything happens in a copy of this system that is gone afterwards (an overlay in memory).
#
# No systemd runs in there: what the package asks of `systemctl` is noted, and the host is started as the unit starts it.
set -euo pipefail
[ $# = 2 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
if [ -z "${TINCLAW_OVERLAY:-}" ]; then
  exec env TINCLAW_OVERLAY=1 unshare --mount bash "$(realpath "$0")" "$(realpath "$1")" "$(realpath "$2")"
fi
old=$1 new=$2 host= in_place=
mount --make-rprivate /
layers=/mnt/tinclaw-deb-test
mkdir -p "$layers"
mount -t tmpfs -o size=1g tmpfs "$layers"
rmdir_later() { umount -l "$layers/root" "$layers" 2>/dev/null || true; rmdir "$layers" 2>/dev/null || true; }
trap '[ -z "$host" ] || kill -9 "$host" 2>/dev/null || true; rmdir_later' EXIT
mkdir "$layers/upper" "$layers/work" "$layers/root"
mount -t overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" overlay "$layers/root"
root=$layers/root
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/run/systemd/system"
printf '#!/bin/sh\necho "$*" >>/run/systemctl.log\n' >"$root/usr/local/bin/systemctl"
chmod 755 "$root/usr/local/bin/systemctl"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
secret='a long and secret value'

step() { local name=$1; shift; if "$@" >"$root/tmp/out" 2>&1; then echo "ok   $name"; else echo "FAIL $name"; sed 's/^/     | /' "$root/tmp/out"; exit 1; fi; }
inside() { chroot "$root" env DEBIAN_FRONTEND=noninteractive "$@"; }
# As the unit has it: the user, its directories, nothing else of the environment.
as_host() {
  ${in_place:-} chroot --userspec=tinclaw:tinclaw "$root" env -i PATH=/usr/bin:/bin HOME=/var/lib/tinclaw TINCLAW_STATE_DIR=/var/lib/tinclaw \
    XDG_DATA_HOME=/var/lib/tinclaw/data TINCLAW_CONFIG=/etc/tinclaw/tinclaw.toml tinclaw "$@"
}
start() {
  # `exec`, so that the process that is stopped later is the host's and not that of a shell around it.
  in_place=exec as_host run --listen "127.0.0.1:$port" --agent "$1" >"$root/tmp/log" 2>&1 &
  host=$!
  for _ in $(seq 300); do grep -q 'webhook is ready' "$root/tmp/log" && return; kill -0 "$host" || break; sleep 0.2; done
  cat "$root/tmp/log"
  return 1
}
stop() { kill "$host"; wait "$host"; host=; }
send() { [ "$(curl -s -o /dev/null -w '%{http_code}' -H "X-Webhook-Secret: $secret" -H 'Content-Type: application/json' -d "{\"user\":\"ann\",\"text\":\"$1\",\"id\":\"$1\"}" "http://127.0.0.1:$port/webhook/webhook")" = 200 ]; }
waits() { as_host messages list --json --state pending | grep -F -- "$1"; }
none_waits() { local n; for n in $(seq 100); do as_host messages list --json --state pending | grep -F '"messages":[]' && return; sleep 0.3; done; return 1; }
store_secret() { printf %s "$secret" | as_host secrets set webhook_webhook_secret; }
# asked COMMAND: systemd was asked for it, once.
asked() { [ "$(grep -cxF -- "$1 tinclaw.service" "$root/run/systemctl.log")" = 1 ]; }
gone() { [ ! -e "$root/var/lib/tinclaw" ] && [ ! -e "$root/etc/tinclaw" ] && [ ! -e "$root/usr/bin/tinclaw" ] && ! grep '^tinclaw:' "$root/etc/passwd"; }

cp "$old" "$root/tmp/old.deb"
cp "$new" "$root/tmp/new.deb"
step 'the package is installed' inside dpkg -i /tmp/old.deb
step 'its service is enabled and started' asked 'enable --now'
step 'its user is there' inside getent passwd tinclaw
step 'the state directory is the user'"'"'s alone' [ "$(stat -c %a:%U "$root/var/lib/tinclaw" | cut -d : -f 1)" = 700 ]
step 'a channel is installed as the user' as_host channels install webhook --yes --to /var/lib/tinclaw/data/tinclaw/channels
step 'a secret is stored' store_secret
step 'the host starts with the packaged configuration' start 'exec:cat >/dev/null'
step 'a webhook is accepted' send precious
echo '# changed by the operator' >>"$root/etc/tinclaw/tinclaw.toml"
step 'the host stops' stop
step 'the message waits' waits precious
step 'the package is upgraded' inside dpkg -i /tmp/new.deb
step 'a service that runs is restarted' asked 'try-restart'
step 'a changed configuration is kept' grep -q 'changed by the operator' "$root/etc/tinclaw/tinclaw.toml"
step 'the message still waits' waits precious
step 'the host starts again' start echo
step 'the message gets its reply' none_waits
step 'the host stops again' stop
step 'the package is removed' inside dpkg -r tinclaw
step 'its service is stopped and disabled' asked 'disable --now'
step 'state and configuration are kept' test -e "$root/var/lib/tinclaw/tinclaw.db" -a -e "$root/etc/tinclaw/tinclaw.toml"
step 'the package is purged' inside dpkg -P tinclaw
step 'nothing is left' gone
