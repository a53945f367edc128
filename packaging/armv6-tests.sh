#!/usr/bin/env bash
# armv6-tests.sh: the tests of the ABI, the sandbox and the store, the tests from end to end, and the smoke test, as a 32-bit ARM program on
# an emulated ARM1176, the processor of the first Raspberry Pi and of the Pi Zero.
#
# Ends with 77 when the tools cannot be installed, and says which. What is not done after $ARMV6_SECONDS (1800) fails; two idle cores need a third of
# that, most of it for the build, which stays in $TINCLAW_TOOLS/armv6 for the next run.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/toolchain.sh
seconds=${ARMV6_SECONDS:-1800}
triple=$(triple_of armv6)
need_emulator && need_zig && need_rustc "$triple" || { echo "the tests on ARMv6 are skipped: the tools above cannot be installed"; exit 77; }
set_emulator armv6
# Some tests start their own program once more.
export TINCLAW_TEST_EMULATOR="${emulator[*]}"
export CARGO_TARGET_DIR=$TINCLAW_TOOLS/armv6 CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0

# within COMMAND…: in the time that is left.
within() {
  local left=$((seconds - SECONDS)) code=0
  [ "$left" -gt 0 ] || { echo "no time is left for: $*"; exit 1; }
  timeout --kill-after=10 "$left" "$@" || code=$?
  [ "$code" != 124 ] || echo "not done within $seconds s: $*"
  return "$code"
}
build() { within bash -c '. packaging/toolchain.sh; need_zig; need_rustc "$0"; cross_cargo "$0" cargo-zigbuild test --locked "$@"' "$triple" "$@"; }
# run NAME DIRECTORY ARGUMENT…: the tests of a program that was built; cargo itself would build other features for one package than for both.
run() {
  local name=$1 directory=$2 program
  shift 2
  program=$(sed -n "s/^ *Executable .*(\(.*\/$name-[0-9a-f]*\))$/\1/p" "$built")
  [ -n "$program" ] || { echo "no tests of $name were built"; exit 1; }
  (cd "$directory" && within "${emulator[@]}" "$program" --quiet "$@")
}

built=$(mktemp)
trap 'rm -f "$built"' EXIT
echo "-- build (${SECONDS} s)"
build --package wit-abi --package tinclaw --features cli --lib --test end_to_end --no-run 2>&1 | tee "$built" | { grep -v Compiling || true; }
echo "-- the ABI (${SECONDS} s)"
run wit_abi wit-abi
echo "-- sandbox and store (${SECONDS} s)"
run tinclaw . sandbox:: store:: model::
echo "-- end to end (${SECONDS} s)"
run end_to_end .
echo "-- smoke test (${SECONDS} s)"
within packaging/smoke.sh "$CARGO_TARGET_DIR/$triple/debug/tinclaw" "${emulator[@]}" | tail -n 1
# A program whose clock has 32 bits ends in January 2038. The emulator's clock is the one that libfaketime shows it.
faketime=$(find /usr/lib -name libfaketimeMT.so.1 2>/dev/null | head -n 1)
if [ -n "$faketime" ] || { apt_install faketime && faketime=$(find /usr/lib -name libfaketimeMT.so.1 | head -n 1); }; then
  echo "-- smoke test in 2040 (${SECONDS} s)"
  within packaging/smoke.sh "$CARGO_TARGET_DIR/$triple/debug/tinclaw" env LD_PRELOAD="$faketime" FAKETIME='@2040-01-01 00:00:00' "${emulator[@]}" | tail -n 1
fi
echo "-- done after ${SECONDS} s"
