#!/usr/bin/env bash
# Mutation tests of the files that decide: each run changes one operator, result, match arm or guard, and some test must fail.
#
#   tests/mutants.sh [FILE…]    the files named, or all of those below; needs `cargo install cargo-mutants`
#
# A mutant that survives changes nothing that can be seen (then the code says more than it needs: simplify it where that
# reads better), or a test is missing. Each mutant costs a build of the library's tests, so all of them take hours; the
# lists of caught and missed ones are in `target/mutants.out`.
set -euo pipefail
cd "$(dirname "$0")/.."

FILES=(
  src/channel/breaker.rs
  src/channel/dedupe.rs
  src/channel/emission.rs
  src/channel/lane.rs
  src/channel/machine/*.rs
  src/channel/outbox.rs
  src/channel/poll.rs
  src/channel/timers.rs
  src/egress/allowlist.rs
  src/egress/host_pattern.rs
  src/egress/retry_after.rs
  src/egress/target.rs
  src/inbox/conversations.rs
  src/inbox/queue.rs
  src/model/backoff.rs
  src/model/rate_limit.rs
  src/webhook/attempts.rs
  src/webhook/dedupe.rs
  src/webhook/dedupe_memory.rs
  src/webhook/ed25519.rs
  src/webhook/encoding.rs
  src/webhook/hmac.rs
  src/webhook/provider_ids.rs
  src/webhook/template.rs
  src/webhook/freshness.rs
  src/webhook/twilio.rs
  src/webhook/verify.rs
  wit-abi/src/canonical/core_types.rs
  wit-abi/src/canonical/layout.rs
  wit-abi/src/canonical/lift.rs
  wit-abi/src/canonical/model.rs
  wit-abi/src/canonical/records.rs
  wit-abi/src/exports.rs
  wit-abi/src/imports.rs
)

files=("$@")
[ ${#files[@]} -gt 0 ] || files=("${FILES[@]}")
options=()
for file in "${files[@]}"; do
  # A file that was moved would otherwise be left out in silence.
  [ -f "$file" ] || { echo "$file is not there" >&2; exit 2; }
  options+=(--file "$file")
done
cargo mutants --workspace --output target "${options[@]}" -- --lib
