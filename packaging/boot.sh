#!/usr/bin/env bash
# boot.sh PROGRAM: plays how a Raspberry Pi boots: a clock that says 1970, a network that comes late, and power cuts in the middle of it all.
# Every webhook that was told 200 must get its reply, and the host must go on with the right clock.
#
# The program must be dynamically linked and of this machine's processor, because its clock is libfaketime's (Debian: faketime). The agent
# stands for the network: an HTTP server that is not there at first. $LATE_SECONDS (20) is how late it comes.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
faketime=$(find /usr/lib -name libfaketimeMT.so.1 2>/dev/null | head -n 1)
[ -n "$faketime" ] || { echo 'skipped: libfaketime is not installed'; exit 77; }
late=${LATE_SECONDS:-20}

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
AGENT=http://127.0.0.1:$port
. "$(dirname "$0")/load.sh"
begin_trial "$1" 2
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; end_trial' EXIT

# The clock is read from a file at every call, so that it can be set while the host runs; time passes between two settings.
set_clock() { echo "$1" >"$trial/clock.new"; mv "$trial/clock.new" "$trial/clock"; }
boot() {
  run_host env LD_PRELOAD="$faketime" FAKETIME_TIMESTAMP_FILE="$trial/clock" FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1
}
power_cut() { kill -9 "$host"; wait "$host" 2>/dev/null || true; host=; }
sent=0
send() {
  local status
  for _ in $(seq "$1"); do
    status=$(send_webhook $((sent % 2 + 1)) $((sent + 1)))
    [ "$status" = 200 ] || { echo "webhook $((sent + 1)): status $status"; tail "$trial/log"; exit 1; }
    sent=$((sent + 1))
  done
}
step() { printf 'ok   %s\n' "$1"; }

set_clock '@1970-01-01 00:00:05'
boot
# The year that the log was written in.
grep -q '^1970-' "$trial/log" || { echo 'the clock was not set back'; exit 1; }
step 'the host starts in 1970'
send 20
step 'webhooks are accepted while there is no network'
power_cut
step 'the power is cut'
set_clock '@1970-01-01 00:00:04'
boot
send 10
step 'it starts once more in 1970, at an earlier time, and accepts webhooks'
sleep "$late"

python3 - "$port" >"$trial/asked" <<'SERVER' &
import http.server, json, sys
class Agent(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(message["content"].split()[1], message["attempt"], flush=True)
        body = json.dumps({"content": "heard " + message["content"]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Agent).serve_forever()
SERVER
server=$!
set_clock "@$(date -u '+%Y-%m-%d %H:%M:%S')"
step 'the network comes, and the clock is set ahead by half a century'

replied_to() { sort -un -k1,1 "$trial/asked" | wc -l; }
wait_for() {
  local end=$((SECONDS + 180))
  until [ "$(replied_to)" -ge "$1" ]; do
    [ $SECONDS -lt $end ] || { echo "$(replied_to) of $1 messages reached the agent:"; tail "$trial/log"; exit 1; }
    sleep 0.5
  done
}
wait_for 30
step 'every message reaches the agent'
send 10
power_cut
boot
send 10
wait_for 50
step 'so do those around another power cut'

waiting() { "$program" --config "$trial/tinclaw.toml" "$1" list --json --state pending --limit 1000 | { grep -o '"id"' || true; } | wc -l; }
end=$((SECONDS + 120))
until [ "$(waiting messages)" = 0 ] && [ "$(waiting replies)" = 0 ]; do
  [ $SECONDS -lt $end ] || { echo "$(waiting messages) messages and $(waiting replies) replies wait"; tail "$trial/log"; exit 1; }
  sleep 1
done
step 'no message and no reply waits'
# A message that the agent had when the power was cut may be asked for again, and nothing else.
again=$(cut -d ' ' -f 1 "$trial/asked" | sort -n | uniq -d | wc -l)
[ "$again" -le 8 ] || { echo "$again messages reached the agent twice"; exit 1; }
[ "$(send_webhook 1 1)" = 200 ] && sleep 2 && [ "$(grep -c '^1 ' "$trial/asked")" -le 2 ] || { echo 'a duplicate was not recognised'; exit 1; }
step 'an id of 1970 is still recognised as a duplicate'
! grep -E 'panicked| ERROR ' "$trial/log" || exit 1
step 'no error is in the log'
