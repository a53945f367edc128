#!/usr/bin/env bash
# disk-writes.sh PROGRAM [IDLE_SECONDS]: bytes written to the disk for each message, from webhook to acknowledgement: in a trickle of one a
# second, in bursts of 20, and of a host that idles. Counted by the kernel (`write_bytes` in /proc/PID/io, proc(5)), in the current
# directory or $TRIAL_DIR, which must be on a real file system.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4p' "$0" >&2; exit 2; }
. "$(dirname "$0")/load.sh"
idle=${2:-120}
# It takes every message and says that it is done. The first `id` of a line is the message's, and further ones are the provider's.
done_agent='exec:sed -u "s/^[^:]*:[^:]*\"id\":\"\([0-9]*\)\".*/{\"type\":\"done\",\"id\":\"\1\"}/"'

written() { sync -f "$trial"; awk '$1 == "write_bytes:" { print $2 }' "/proc/$host/io"; }

# send_many COUNT: at once, each over a connection of its own; all must be accepted.
send_many() {
  local number
  for number in $(seq "$1"); do
    id=$((id + 1))
    [ "$number" = 1 ] || echo next
    printf '%s\n' "url = \"$url/webhook/webhook\"" "header = \"X-Webhook-Secret: $SECRET\"" 'header = "Content-Type: application/json"' \
      "data = \"{\\\"user\\\":\\\"ann\\\",\\\"text\\\":\\\"message $id\\\",\\\"thread\\\":\\\"$((id % 7))\\\",\\\"id\\\":\\\"$id\\\"}\"" \
      'output = "/dev/null"' 'write-out = "%{http_code}\n"' 'max-time = 30' 'silent'
  done >"$trial/requests"
  curl --no-progress-meter --parallel --parallel-immediate --parallel-max 50 -K "$trial/requests" >>"$trial/statuses"
}

measure() {
  local id=0 before after
  begin_trial "$program_file" 1
  case $(stat -f -c %T "$trial") in tmpfs | overlayfs | ramfs) echo "$trial is on no disk; set TRIAL_DIR" >&2; exit 2 ;; esac
  run_host
  send_many 20
  # Registrations of the start, and acknowledgements that wait to be written.
  sleep 5
  before=$(written)
  for _ in $(seq 60); do send_many 1; sleep 1; done
  sleep 5
  after=$(written)
  echo "a trickle of one a second: $(((after - before) / 60)) bytes a message"
  before=$after
  for _ in $(seq 20); do send_many 20; sleep 1; done
  sleep 5
  after=$(written)
  echo "bursts of 20: $(((after - before) / 400)) bytes a message"
  if grep -v '^200$' "$trial/statuses" >&2; then echo "not all webhooks were accepted" >&2; exit 1; fi
  if grep 'unknown or already acknowledged' "$trial/log" >&2; then echo "the agent acknowledged other messages than it got" >&2; exit 1; fi
}

program_file=$1
AGENT=$done_agent
measure
sleep 5
before=$(written)
sleep "$idle"
echo "idle for $idle s: $(($(written) - before)) bytes"
