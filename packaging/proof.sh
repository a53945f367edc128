#!/usr/bin/env bash
# proof.sh [DIST]: runs what a release promises and writes docs/proof.md with what came of it: kills survived, messages lost, inputs of the
# fuzz targets, bytes a message, memory, start, size of each target, webhooks a second, instructions a webhook, versions. A step that fails is
# a line that says so, and the script ends with 1.
#
# All of it takes about an hour. For less: $PARTS names the parts to run (kills fuzz writes memory instructions smoke speed), $KILLS (200) is how
# often the host is killed, $TRIAL_SECONDS (600) how long it runs on little memory, $IDLE_SECONDS (3600) how long it idles, and
# $FUZZ_SECONDS (0: the corpus only) how long each target is fuzzed. The page says what was chosen, and which parts were not run.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/toolchain.sh
dist=$(realpath -m "${1:-dist}")
kills=${KILLS:-200} fuzz_seconds=${FUZZ_SECONDS:-0} trial_seconds=${TRIAL_SECONDS:-600} idle_seconds=${IDLE_SECONDS:-3600}
all_parts='kills fuzz writes memory instructions smoke speed'
parts=${PARTS:-$all_parts}
work=$(mktemp -d) failed=0
trap 'rm -rf "$work"' EXIT
rows=()

row() { rows+=("| $1 | $2 |"); echo "$1: $2"; }
# try WHAT COMMAND…: its output is in $work/out; false when it fails, which becomes a row.
try() {
  local what=$1
  shift
  if "$@" >"$work/out" 2>&1; then return 0; fi
  failed=1
  row "$what" "**failed**: $(tail -n 1 "$work/out" | cut -c 1-160)"
  return 1
}
# wanted PART: whether it is run; otherwise it becomes a row.
wanted() {
  case " $parts " in *" $1 "*) return 0 ;; esac
  row "$2" 'not run this time'
  return 1
}
find_text() { grep -aoE -- "$1" "$work/out" | tail -n 1; }

if wanted kills 'kills survived' && try 'kills survived' env TINCLAW_CRASH_ROUNDS="$kills" cargo test --lib what_got_200_is_delivered -- --nocapture; then
  row 'kills survived' "$kills ($(find_text 'killed: .*'))"
  row 'messages lost that had got 200' 0
fi
if ! wanted fuzz 'inputs of the fuzz targets'; then
  :
elif [ "$fuzz_seconds" = 0 ]; then
  try 'inputs of the fuzz targets' fuzz/run.sh replay && row 'inputs of the fuzz targets' "$(find_text '[0-9]+ inputs of [0-9]+ targets replayed')"
else
  try 'cases of the fuzz targets' fuzz/run.sh "$fuzz_seconds" &&
    row 'cases of the fuzz targets' "$(awk '/number_of_executed_units/ { sum += $NF } END { print sum + 0 }' "$work/out") in $fuzz_seconds s a target"
fi

native=
case $(uname -m) in x86_64) native=$dist/x86_64/tinclaw ;; aarch64) native=$dist/aarch64/tinclaw ;; esac
export TRIAL_DIR=$PWD/target
mkdir -p target
if wanted writes 'bytes written for a message' && try 'bytes written for a message' packaging/disk-writes.sh "$native" "$idle_seconds"; then
  row 'bytes written for a message, one a second' "$(find_text 'one a second: [0-9]+' | grep -oE '[0-9]+$')"
  row 'bytes written for a message, bursts of 20' "$(find_text 'bursts of 20: [0-9]+' | grep -oE '[0-9]+$')"
  row 'bytes written by a host that idles' "$(find_text 'idle for .*')"
fi
for size in '64 2' '128 6'; do
  # shellcheck disable=SC2086
  wanted memory "${size% *} MiB, ${size#* } channels" && try "${size% *} MiB, ${size#* } channels" packaging/small-machine.sh "$native" $size "$trial_seconds" &&
    row "${size% *} MiB, ${size#* } channels" "$(tail -n 1 "$work/out" | sed 's/^[^,]*, [^,]*, *//')"
done
# count WHAT PROGRAM EMULATOR…
count() {
  local what="instructions a webhook, $1"
  shift
  [ ! -f "$1" ] || ! wanted instructions "$what" || ! try "$what" packaging/instructions.sh "$@" || row "$what" "$(find_text '[0-9]+ instructions' | cut -d ' ' -f 1)"
}
count "$(uname -m)" "$native"
set_emulator armv6
count ARMv6 "$dist/armv6/tinclaw" "${emulator[@]}"
for board in "${BOARDS[@]}"; do
  [ -f "$dist/$board/tinclaw" ] || continue
  set_emulator "$board"
  wanted smoke "smoke test, $board" && try "smoke test, $board" packaging/smoke.sh "$dist/$board/tinclaw" "${emulator[@]}" && row "smoke test, $board" "$(tail -n 1 "$work/out")"
done
if wanted speed 'webhooks a second' && try 'webhooks a second' cargo bench --bench host; then
  for connections in 1 8 64; do
    row "webhooks a second, large guest, $connections connections" "$(grep -aE "^large +$connections connections, kept:" "$work/out" | grep -oE '[0-9.]+ webhooks/s' | cut -d ' ' -f 1)"
  done
  row 'start and memory' "$(grep -aE 'ready after' "$work/out" | tr '\n' ';' | sed 's/;$//')"
fi

{
  printf '# Proof\n\nWritten by `packaging/proof.sh` from what it ran: version %s, commit %s, on %s cores (%s).\n\n' \
    "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" "$(git rev-parse --short=12 HEAD)" "$(nproc)" "$(uname -m)"
  printf 'Parts: %s. %s kills, %s s on little memory, %s s idle.\n\n' "$parts" "$kills" "$trial_seconds" "$idle_seconds"
  for board in "${BOARDS[@]}"; do
    [ ! -f "$dist/$board/tinclaw" ] || { set_emulator "$board"; echo "- $("${emulator[@]}" "$dist/$board/tinclaw" --version | head -n 2 | tr '\n' ' ')"; }
  done
  printf '\n'
  echo '| what | result |'
  echo '|---|---|'
  printf '%s\n' "${rows[@]}"
  if [ -d "$dist" ]; then echo; packaging/boards-table.sh "$dist"; fi
  printf '\n## Versions\n\n%s\n\n' "$(rustc --version)"
  packaging/licences.py --list | sed 's/^/- /'
} >docs/proof.md
exit "$failed"
