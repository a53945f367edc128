#!/usr/bin/env bash
# boards-table.sh DIST [--readme]: what a release's programs are: size, kind, time to start. With --readme the table replaces the one between
# its marks in README.md.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/.."
. packaging/toolchain.sh
dist=$1

# start_ms PROGRAM: until the host listens and its channel is ready; the middle of five.
start_ms() {
  local program=$1 work run begin
  work=$(mktemp -d)
  export HOME=$work TINCLAW_STATE_DIR=$work/state XDG_DATA_HOME=$work/data XDG_CONFIG_HOME=$work/config
  "${emulator[@]}" "$program" channels install webhook --yes --to "$work/channels" >/dev/null
  for run in 1 2 3 4 5; do
    : >"$work/log"
    begin=$(date +%s%N)
    "${emulator[@]}" "$program" run --listen 127.0.0.1:0 --channels "$work/channels" >"$work/log" 2>&1 &
    until grep -q 'is ready' "$work/log"; do kill -0 $! 2>/dev/null || { cat "$work/log" >&2; return 1; }; sleep 0.005; done
    echo $((($(date +%s%N) - begin) / 1000000))
    kill $!
    wait $! 2>/dev/null || true
  done | sort -n | sed -n 3p
  rm -rf "$work"
}

kind() {
  case $(LC_ALL=C readelf -hl "$1") in
    *'program interpreter'*) echo 'needs a C library' ;;
    *'Type:'*DYN*) echo 'static, position-independent' ;;
    *) echo 'static' ;;
  esac
}

table() {
  echo '| target | program | kind | start until a channel is ready |'
  echo '|---|---|---|---|'
  for board in "${BOARDS[@]}"; do
    program=$(realpath -m "$dist/$board/tinclaw")
    [ -f "$program" ] || continue
    set_emulator "$board"
    time=$(start_ms "$program") || time='?'
    echo "| \`$(triple_of "$board")\` | $(awk -v bytes="$(stat -c %s "$program")" 'BEGIN { printf "%.2f", bytes / 1e6 }') MB |" \
      "$(kind "$program") | $time ms${emulator[0]:+ under \`${emulator[*]}\`} |"
  done
}

table=$(table)
echo "$table"
if [ "${2:-}" = --readme ]; then
  TABLE=$table awk '
    /<!-- end of boards -->/ { inside = 0 }
    !inside
    /<!-- boards -->/ { inside = 1; print ENVIRON["TABLE"] }' README.md >README.md.new
  mv README.md.new README.md
fi
