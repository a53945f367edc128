#!/usr/bin/env bash
# Measures, and writes the figures of README.md between its two marks.
#
#   benches/figures.sh             measures again, which takes some minutes
#   benches/figures.sh FILE        takes what such a run printed from FILE
#
# Nothing else should run on the machine meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."

printed=${1:-}
if [ -z "$printed" ]; then
  printed=$(mktemp)
  trap 'rm -f "$printed"' EXIT
  { cargo test --release --lib measure_callback_cost -- --ignored --nocapture && cargo bench --bench host; } |
    tee "$printed"
fi

figures() {
  echo "A machine with $(nproc) cores ($(uname -m)); clients and host share them. The large guest is a component of"
  awk '$1 == "large:" { print $2 " KB with " $4 " MB of memory, which reads and writes JSON as a channel for Telegram does." }' "$printed"
  echo
  awk '
    # large: 405 KB, 1.11 MB of initial memory; prepared in 3573.4 µs, 8825.8 µs per MB
    / of initial memory; / { guest = $1; preparing[guest] = $(NF - 3) }
    #   in an instance of its own: 81.1 µs
    / in an instance of its own: / { fresh[guest] = $(NF - 1) }
    # large   8 connections, kept:      6485 webhooks/s, p50  1.17 ms, p99  2.29 ms, CPU  161 µs, switches  6.2 +  0.9, resident ...
    / webhooks\/s, p50 / {
      rate[$1, $2, $4] = $5 " (p99 " $11 " ms)"
      cost[$1, $2, $4] = $14 " µs, " sprintf("%.1f", $17 + $19) " switches"
    }
    # program: 6.40 MB
    $1 == "program:" { program = $2 }
    # 6 channels of 360 KB: ready after 29 ms (median of 9), resident 11.3 MiB
    / ready after / { ready[$1] = $8; resident[$1] = $(NF - 1) }
    END {
      print "| | |"
      print "|---|---|"
      print "| program, stripped | " program " MB |"
      print "| from the start of the process until one large channel is ready, and six | " ready[1] " ms, " ready[6] " ms |"
      print "| resident memory with one large channel, and with six | " resident[1] " MiB, " resident[6] " MiB |"
      large = "large:"
      print "| one callback of the large guest, in a fresh instance | " fresh[large] " µs |"
      printf "| preparing a guest, per MB | %.1f ms |\n", preparing[large] / 1000
      print ""
      print "| webhooks a second | 1 connection | 8 connections | 64 connections |"
      print "|---|---|---|---|"
      row("large guest, connections stay open", "large", "kept:")
      row("the same, state on disk, each commit forced to the medium", "large", "durable:")
      row("the same, state in memory, beside two busy loops", "large", "busy:")
      row("large guest, each webhook opens one", "large", "fresh:")
      row("echo guest, connections stay open", "echo", "kept:")
      row("echo guest, each webhook opens one", "echo", "fresh:")
      print "| CPU and context switches of the host for a webhook: large guest, connections stay open | " cost["large", 1, "kept:"] " | " cost["large", 8, "kept:"] " | " cost["large", 64, "kept:"] " |"
    }
    function row(what, guest, way) {
      print "| " what " | " rate[guest, 1, way] " | " rate[guest, 8, way] " | " rate[guest, 64, way] " |"
    }' "$printed"
}

written=$(mktemp)
figures >"$written"
sed -i -e "/^<!-- figures -->\$/,/^<!-- end of figures -->\$/ {
  /^<!-- figures -->\$/ r $written
  /^<!-- figures -->\$/! { /^<!-- end of figures -->\$/! d }
}" README.md
rm -f "$written"
