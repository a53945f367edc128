#!/usr/bin/env bash
# small-machine.sh PROGRAM MEGABYTES CHANNELS [SECONDS]: does a host with so many channels live on so much memory, under 5 webhooks a second?
#
#   packaging/small-machine.sh target/release/tinclaw 64 2        ten minutes
#
# The limit is a control group's (of either version), so it needs root; where none can be made, the script says so and ends with 77.
# It fails when a webhook is refused or the host is killed.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,7p' "$0" >&2; exit 2; }
. "$(dirname "$0")/load.sh"
megabytes=$2 seconds=${4:-600}

# make_group: a control group in this process' own; `group` is its directory.
make_group() {
  local own
  if own=$(grep -E '^[0-9]+:([^:]*,)?memory(,[^:]*)?:' /proc/self/cgroup); then
    group=/sys/fs/cgroup/memory${own#*:*:}
    [ -d "$group" ] || group=/sys/fs/cgroup/memory
    group=$group/tinclaw-trial-$$
    mkdir "$group" && echo $((megabytes << 20)) >"$group/memory.limit_in_bytes" || return 1
    # Without swap, as on a card; not every kernel counts it.
    echo $((megabytes << 20)) >"$group/memory.memsw.limit_in_bytes" 2>/dev/null || true
  else
    own=$(grep '^0::' /proc/self/cgroup)
    group=/sys/fs/cgroup${own#0::}
    group=${group%/}/tinclaw-trial-$$
    mkdir "$group" && echo $((megabytes << 20)) >"$group/memory.max" || return 1
    echo 0 >"$group/memory.swap.max" 2>/dev/null || true
  fi
}

group=
make_group 2>/dev/null || { [ -z "$group" ] || rmdir "$group" 2>/dev/null || true; echo "skipped: no control group can be made here"; exit 77; }
begin_trial "$1" "$3"
# The group goes when nobody is in it any more.
trap 'end_trial; rmdir "$group" 2>/dev/null || { sleep 1; rmdir "$group"; }' EXIT
run_host sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group"

refused=0 sent=0 begin=$(date +%s%N)
while [ $(($(date +%s%N) - begin)) -lt $((seconds * 1000000000)) ]; do
  sent=$((sent + 1))
  status=$(send_webhook $((sent % channels + 1)) "$sent") || true
  [ "$status" = 200 ] || { refused=$((refused + 1)); echo "webhook $sent: status $status"; }
  kill -0 "$host" || { echo "the host has ended after $sent webhooks:"; tail -n 5 "$trial/log"; exit 1; }
  wait_ns=$((begin + sent * 200000000 - $(date +%s%N)))
  [ "$wait_ns" -le 0 ] || sleep "$(printf '0.%09d' "$wait_ns")"
done

peak=$(cat "$group/memory.max_usage_in_bytes" 2>/dev/null || cat "$group/memory.peak" 2>/dev/null || echo 0)
kills=$({ cat "$group/memory.oom_control" "$group/memory.events" 2>/dev/null || true; } | awk '$1 == "oom_kill" { print $2 }')
resident=$(awk '$1 == "VmRSS:" { print $2 }' "/proc/$host/status")
waiting=$("$program" --config "$trial/tinclaw.toml" messages list --json --state pending --limit 1000 | { grep -o '"received_at"' || true; } | wc -l)
echo "$megabytes MiB, $channels channels, $seconds s: $sent webhooks, $refused refused, ${kills:-0} kills, $waiting messages waiting;" \
  "the group's peak $((peak >> 20)) MiB with the files that were read and written, the host's memory $((resident >> 10)) MiB"
[ "$refused" = 0 ] && [ "${kills:-0}" = 0 ]
