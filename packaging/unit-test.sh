#!/usr/bin/env bash
# Runs the unit under a real systemd: packaging/unit-test.sh PROGRAM
#
# The system is this machine's own, under a layer that is thrown away (overlayfs), with process ids, mounts, network, devices and a control
# group of its own; systemd is its first process, and sees nothing of the machine's. Needs root, systemd, curl and overlayfs; where systemd
# cannot be run like this, that is said and the script ends with 77.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "${1:?usage: packaging/unit-test.sh PROGRAM}")
if [ "$(id -u)" != 0 ] || ! command -v systemctl curl unshare nsenter >/dev/null; then
  echo "skipped: root, systemd, curl, unshare and nsenter are needed"; exit 77
fi

# The hierarchy by which systemd tells services apart: the only one (version 2), or that of its name (version 1).
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
  hierarchy=/sys/fs/cgroup mount_groups="mount -t cgroup2 cgroup2 sys/fs/cgroup"
elif [ -d /sys/fs/cgroup/systemd ]; then
  hierarchy=/sys/fs/cgroup/systemd
  mount_groups="mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup && mkdir sys/fs/cgroup/systemd &&
    mount -t cgroup -o none,name=systemd systemd sys/fs/cgroup/systemd"
else
  echo "skipped: there is no hierarchy of control groups for systemd"; exit 77
fi
group=$hierarchy/tinclaw-unit-test.$$

layer=$(mktemp -d)
system=
end() {
  # Its first process takes all others with it.
  if [ -n "$system" ]; then kill -KILL "$system" 2>/dev/null || true; fi
  sleep 0.5
  find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
  umount -l "$layer/root" 2>/dev/null || true
  umount -l "$layer" 2>/dev/null || true
  rmdir "$layer" 2>/dev/null || true
}
trap end EXIT
mount -t tmpfs tmpfs "$layer"
mkdir "$layer/root" "$layer/upper" "$layer/work"
if ! mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"; then
  echo "skipped: overlayfs cannot be mounted"; exit 77
fi

root=$layer/root
install -m 755 "$program" "$root/usr/bin/tinclaw"
"$program" service install --root "$root" --program /usr/bin/tinclaw >/dev/null
chroot "$root" systemd-sysusers
chroot "$root" chgrp tinclaw /etc/tinclaw/tinclaw.toml
chmod 640 "$root/etc/tinclaw/tinclaw.toml"
printf 'listen = "127.0.0.1:18080"\nwebchat = true\n' >"$root/etc/tinclaw/tinclaw.toml"
sed -i 's/127.0.0.1:8080/127.0.0.1:18080/' "$root/etc/systemd/system/tinclaw.socket"
# The watchdog of the unit waits for a minute.
mkdir -p "$root/etc/systemd/system/tinclaw.service.d"
printf '[Service]\nWatchdogSec=4s\n' >"$root/etc/systemd/system/tinclaw.service.d/test.conf"

# Nothing that would change this machine's devices and settings.
for unit in systemd-udevd systemd-udev-trigger systemd-sysctl systemd-modules-load systemd-random-seed systemd-remount-fs; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
done
# The first process that is forked in the new numbering of processes is the first of the system.
# Its root is no chroot, in which no unit could have users of its own.
mkdir "$root/outside"
mkdir "$group"
in_group() { echo "$BASHPID" >"$group/cgroup.procs" && exec "$@"; }
in_group unshare --mount --uts --net --ipc --cgroup bash -c "
  set -e
  ip link set lo up
  cd '$root'
  mount -t tmpfs -o mode=755 tmpfs dev
  for device in null zero full random urandom tty; do touch dev/\$device; mount --bind /dev/\$device dev/\$device; done
  mkdir dev/pts dev/shm
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  mount -t tmpfs tmpfs dev/shm
  mount -t sysfs sysfs sys
  $mount_groups
  mount -o remount,bind,ro sys
  mount -t tmpfs tmpfs run
  mount -t tmpfs tmpfs tmp
  pivot_root . outside
  cd /
  mount -t proc proc proc
  umount -l /outside
  umount proc
  export container=other
  exec unshare --pid bash -c '/lib/systemd/systemd --system --unit=basic.target --log-target=null & wait'
" </dev/null >"$layer/console" 2>&1 &
outer=$!
for _ in $(seq 50); do
  system=$(pgrep -P "$outer" | head -1) && [ -n "$system" ] && break
  sleep 0.1
done
inside() { timeout 60 nsenter --target "$system" --pid --mount --net --ipc --cgroup --root --wd -- "$@"; }
fail() {
  echo "FAIL  $1"
  inside systemctl status --no-pager --lines=30 --full tinclaw || true
  exit 1
}
until_true() {
  local what=$1; shift
  for _ in $(seq 120); do if "$@" >/dev/null 2>&1; then echo "ok    $what"; return; fi; sleep 0.5; done
  fail "$what"
}
is_running() { inside systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded|starting'; }
for _ in $(seq 60); do is_running && break; sleep 0.5; done
if ! is_running; then tail -5 "$layer/console"; echo "skipped: systemd does not run here"; exit 77; fi

property() { inside systemctl show --property="$1" --value tinclaw; }
is_active() { [ "$(property ActiveState)" = active ]; }
tells_its_status() { property StatusText | grep -q 'channels ready'; }
serves() { inside curl -fsS -o /dev/null http://127.0.0.1:18080/chat; }
config=$root/etc/tinclaw/tinclaw.toml

inside systemctl start tinclaw || fail "the service starts"
until_true "it is active once it has said READY" is_active
until_true "it serves" serves
until_true "its status is told" tells_its_status

echo 'log = "debug"' | cat - "$config" >"$config.new" && cat "$config.new" >"$config" && rm "$config.new"
inside systemctl reload tinclaw || fail "a configuration is reloaded"
echo "ok    a configuration is reloaded"
cp "$config" "$layer/good"; sed -i '1i listen = 7' "$config"
if inside systemctl reload tinclaw 2>/dev/null; then fail "a configuration that cannot be used makes reload fail"; fi
echo "ok    a configuration that cannot be used makes reload fail"
cat "$layer/good" >"$config"
until_true "and it serves on" serves

process=$(property MainPID)
inside kill -STOP "$process"
restarted() { local now; now=$(property MainPID); [ "$now" != 0 ] && [ "$now" != "$process" ]; }
until_true "the watchdog restarts a host that hangs" restarted
until_true "and it serves" serves

inside systemctl stop tinclaw
test "$(property Result)" = success && echo "ok    it stops with success"
inside systemctl start tinclaw.socket tinclaw.service || fail "it starts with its socket"
until_true "it serves the socket that systemd holds" serves
# Requests while the service is restarted wait in the socket.
(for _ in $(seq 20); do inside curl -fsS -m 30 -o /dev/null http://127.0.0.1:18080/healthz || echo refused; done >"$layer/refused") &
load=$!
inside systemctl restart tinclaw || fail "it is restarted"
wait "$load"
if [ -s "$layer/refused" ]; then echo "FAIL  connections were refused during a restart"; exit 1; fi
echo "ok    no connection is refused during a restart"
inside systemctl stop tinclaw.socket tinclaw.service
inside journalctl -u tinclaw --no-pager -p err --output=cat | head -5
echo "the unit works under $(systemctl --version | head -1)"
