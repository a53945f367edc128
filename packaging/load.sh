#!/usr/bin/env bash
# load.sh: what the trials of small machines share: a host with several webhook channels, and webhooks for it. To be sourced.
#
# begin_trial PROGRAM CHANNELS makes the directory $trial with a configuration; run_host COMMAND… starts the host with the command in front
# of it (the emulator, a wrapper, nothing), and $host is its process and $url its address; send_webhook CHANNEL_NUMBER ID prints the status.
# The agent: `echo` replies to everything. $emulator is an array that stands in front of the program where the machine cannot run it itself.
AGENT=${AGENT:-echo}
SECRET='a long and secret value'
[ -v emulator ] || emulator=()

tinclaw() { "${emulator[@]}" "$program" "$@"; }

# Outside of /tmp, which is often not on the disk.
begin_trial() {
  program=$(realpath "$1") channels=$2 host=
  trial=$(mktemp -d "${TRIAL_DIR:-$PWD}/tinclaw-trial.XXXXXX")
  trap end_trial EXIT
  export HOME=$trial XDG_CONFIG_HOME=$trial/config XDG_DATA_HOME=$trial/data TINCLAW_STATE_DIR=$trial/state
  unset TINCLAW_CONFIG RUST_LOG
  {
    printf 'listen = "127.0.0.1:0"\nchannels = ["channels"]\nwebchat = false\n'
    for number in $(seq "$channels"); do
      if [ "$number" = 1 ]; then printf '[channel.webhook]\n'; else printf '[channel.hook%s]\nguest = "webhook"\n' "$number"; fi
      # More than the 100 messages a minute that a channel may emit by default.
      printf 'capabilities = { channel = { emit_rate_limit = { messages_per_minute = 1000000, messages_per_hour = 1000000 } } }\n'
    done
  } >"$trial/tinclaw.toml"
  tinclaw channels install webhook --yes --to "$trial/channels" >/dev/null
  for number in $(seq "$channels"); do
    [ "$number" = 1 ] && account='' || account=hook$number.
    printf %s "$SECRET" | tinclaw --config "$trial/tinclaw.toml" secrets set "${account}webhook_webhook_secret" >/dev/null
  done
}

end_trial() {
  if [ -n "$host" ]; then kill "$host" 2>/dev/null || true; wait "$host" 2>/dev/null || true; fi
  rm -rf "$trial"
}

run_host() {
  : >"$trial/log"
  "$@" "$program" run --config "$trial/tinclaw.toml" --agent "$AGENT" >"$trial/log" 2>&1 &
  host=$!
  local waited=0
  until [ "$(grep -c 'is ready' "$trial/log")" -ge "$channels" ] && grep -q '^listening on http' "$trial/log"; do
    kill -0 "$host" 2>/dev/null && [ $((waited += 1)) -lt 600 ] || { echo "the host does not start:" >&2; cat "$trial/log" >&2; return 1; }
    sleep 0.2
  done
  url=$(sed -n 's/^listening on //p' "$trial/log" | head -n 1)
}

# send_webhook CHANNEL_NUMBER ID
send_webhook() {
  local path=webhook/webhook
  [ "$1" = 1 ] || path=hook$1/$path
  curl -s -m 30 -o /dev/null -w '%{http_code}\n' -H "X-Webhook-Secret: $SECRET" -H 'Content-Type: application/json' \
    -d "{\"user\":\"ann\",\"text\":\"message $2\",\"thread\":\"$(($2 % 7))\",\"id\":\"$2\"}" "$url/$path"
}
