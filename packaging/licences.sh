#!/usr/bin/env bash
# licences.sh: what the program is made of: name, version and licence of each crate in it, one a line.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo tree --locked --package tinclaw --features cli --edges normal --target x86_64-unknown-linux-musl --target arm-unknown-linux-musleabihf --prefix none --format '{p} {l}' |
  sed -e 's/ ([^)]*)//g' -e 's/ (\*)$//' | sort -u
