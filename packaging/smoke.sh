#!/usr/bin/env bash
# smoke.sh: does this program do what it is for, on the machine (or under the emulator) where it runs?
#
#   packaging/smoke.sh target/release/tinclaw
#   packaging/smoke.sh dist/armv6/tinclaw qemu-arm -cpu arm1176
#
# Everything after the program is the emulator's command line. Each step prints one line; the first one that fails shows what
# was printed and ends the script with 1. Needs `curl`. Listens on loopback only and leaves nothing behind.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,8p' "$0" >&2; exit 2; }
program=$(realpath "$1"); shift
emulator=("$@")

work=$(mktemp -d)
host=
cleanup() { [ -z "$host" ] || kill -9 "$host" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
cd "$work"
export HOME=$work XDG_CONFIG_HOME=$work/config XDG_DATA_HOME=$work/data TINCLAW_STATE_DIR=$work/state
export LC_ALL=C.UTF-8
unset TINCLAW_CONFIG RUST_LOG
steps=0

tinclaw() { "${emulator[@]}" "$program" "$@"; }

# step NAME COMMAND…: runs it, its output in the file `out`.
step() {
  local name=$1; shift
  if "$@" >out 2>&1; then steps=$((steps + 1)); printf 'ok   %s\n' "$name"; return; fi
  printf 'FAIL %s\n' "$name"
  sed 's/^/     | /' out
  [ ! -s log ] || { echo "     the host's log:"; tail -n 20 log | sed 's/^/     | /'; }
  exit 1
}

# says TEXT COMMAND…: the output of the command holds the text.
says() { local text=$1; shift; "$@" 2>&1 | tee said; grep -qF -- "$text" said; }
# fails CODE COMMAND…: the command ends with this code.
fails() { local code=$1 got=0; shift; "$@" || got=$?; [ "$got" = "$code" ] || { echo "exit code $got"; return 1; }; }
# eventually COMMAND…: the command succeeds within two minutes; emulators are slow.
eventually() { local end=$((SECONDS + 120)); until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done; }

url=
start() {
  : >log
  "${emulator[@]}" "$program" run --listen 127.0.0.1:0 --channels channels "$@" >log 2>&1 &
  host=$!
  eventually listening
}
listening() {
  kill -0 "$host" || return 1
  url=$(grep -oE 'http://127\.0\.0\.1:[0-9]+' log | head -n 1)
  [ -n "$url" ] && grep -q 'channel webhook is ready' log
}
stop() { kill -TERM "$host"; local code=0; wait "$host" || code=$?; host=; [ "$code" = 0 ] || { echo "exit code $code"; return 1; }; }
crash() { kill -9 "$host"; wait "$host" 2>/dev/null || true; host=; }

# http STATUS CURL-ARGUMENTS…: the response has this status.
http() {
  local want=$1 got; shift
  got=$(curl -sS -m 60 -o body -w '%{http_code}' "$@") && cat body
  [ "$got" = "$want" ] || { echo "status $got"; return 1; }
}
send() { http 200 -H "X-Webhook-Secret: $1" -d "{\"user\":\"ann\",\"text\":\"$2\",\"thread\":\"7\",\"id\":\"$2\"}" -H 'content-type: application/json' "$url/webhook/webhook"; }
fetch() { curl -sS -m 60 -H 'X-Webhook-Secret: a long and secret value' "$url/webhook/webhook?thread=7&after=0"; }
replied() { fetch >body && grep -qF -- "$1" body; }
pending() { tinclaw messages list --json --state pending >body && grep -qF -- "$1" body; }
nothing_pending() { tinclaw messages list --json --state pending >body && grep -qF '"messages":[]' body; }
burst() { local n; for n in $(seq "$1"); do send "a long and secret value" "burst$n" || return 1; done; }

step "the version names program and target" says "tinclaw" tinclaw --version
step "help is shown" says "Usage: tinclaw" tinclaw --help
step "a wrong command ends with 2" fails 2 tinclaw rnu
step "a bundled channel is installed" tinclaw channels install webhook --yes --to channels
step "it passes the check" says "webhook" tinclaw check channels
step "a callback runs in the sandbox" tinclaw call channels/webhook.wasm on-start
step "a file that is no guest is refused" fails 1 tinclaw check "$0"
step "a secret is stored" sh -c 'printf "a long and secret value" | "$@"' sh "${emulator[@]}" "$program" secrets set webhook_webhook_secret
step "its name is listed" says webhook_webhook_secret tinclaw secrets list
step "its value is not in any file" sh -c '! grep -rqF "a long and secret value" state config data 2>/dev/null'
step "the host starts" start --agent echo
step "a webhook with a wrong secret gets 401" http 401 -H 'X-Webhook-Secret: wrong' -d '{}' "$url/webhook/webhook"
step "an unknown path gets 404" http 404 "$url/nothing/here"
step "a body over the limit gets 413" http 413 -H "X-Webhook-Secret: a long and secret value" -H 'Content-Type: application/json' -H 'Content-Length: 999999999' -d '{}' "$url/webhook/webhook"
step "a webhook with the right secret gets 200" send "a long and secret value" hello
step "the agent's reply arrives" eventually replied hello
step "health says that all is well" tinclaw health
step "the channel is listed as ready" says ready tinclaw channels list
step "the message is listed" says hello tinclaw messages list
step "the reply is listed" says hello tinclaw replies list
step "a second host on the same state is refused" fails 1 tinclaw run --listen 127.0.0.1:0 --channels channels
step "SIGTERM ends the host with 0" stop
step "the host starts with an agent that never replies" start --agent 'exec:cat >/dev/null'
step "a webhook is accepted" send "a long and secret value" precious
step "its message waits" eventually pending precious
step "the host is killed" crash
step "the message is still there without a host" pending precious
step "the host starts again" start --agent echo
step "the message has its reply now" eventually replied precious
step "a burst of 50 webhooks is accepted" burst 50
step "none of them waits in the end" eventually nothing_pending
step "SIGTERM ends the host with 0 again" stop
printf '%d steps passed\n' "$steps"
