#!/usr/bin/env bash
# instructions.sh PROGRAM [EMULATOR…]: how many instructions a host executes for one webhook, from socket to durable message: the difference
# between a run with 10 and one with 110, divided by 100. On this machine's processor valgrind counts, and with an emulator its log does,
# which takes minutes. An emulated processor has no time of its own, so this is what can be said about one.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4p' "$0" >&2; exit 2; }
. "$(dirname "$0")/load.sh"
here=$(realpath "$(dirname "$0")")
file=$1; shift
emulator=("$@")
AGENT='exec:cat >/dev/null'

count() {
  local webhooks=$1 number
  begin_trial "$file" 1
  if [ ${#emulator[@]} = 0 ]; then
    run_host valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null --log-file="$trial/count"
  else
    mkfifo "$trial/trace"
    "$here/instructions.py" <"$trial/trace" >"$trial/count" &
    reader=$!
    run_host "${emulator[@]}" -d in_asm,exec,nochain -D "$trial/trace"
  fi
  for number in $(seq "$webhooks"); do [ "$(send_webhook 1 "$number")" = 200 ] || { echo 'a webhook was refused' >&2; return 1; }; done
  kill "$host"; wait "$host" || true
  host=
  if [ ${#emulator[@]} = 0 ]; then sed -n 's/.*I *refs: *//p' "$trial/count" | tr -d ,; else wait "$reader"; cat "$trial/count"; fi
}

few=$(count 10)
many=$(count 110)
echo "$(((many - few) / 100)) instructions a webhook"
