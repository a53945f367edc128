#!/usr/bin/env bash
# Fuzzes what reads bytes from outside, one target after the other.
#
#   fuzz/run.sh SECONDS [TARGET…]    SECONDS for each target; all targets when none is named
#   fuzz/run.sh replay               runs each input of the corpus once, without instrumentation: what `.ci/run` does
#
# The long run needs cargo-fuzz (`cargo install cargo-fuzz`). What it finds is printed and kept in `fuzz/artifacts`: add the input to the
# corpus of its target together with the fix.
set -euo pipefail
cd "$(dirname "$0")"
what=${1:?SECONDS or replay}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(sed -n '/^\[\[bin\]\]/,$ s/^name = "\(.*\)"$/\1/p' Cargo.toml)

if [ "$what" = replay ]; then
  RUSTFLAGS="--cfg fuzzing" cargo build --release --bins
  count=0
  for target in "${targets[@]}"; do
    ./target/release/"$target" corpus/"$target"/* >/dev/null 2>replay.log || { cat replay.log; echo "$target: an input of the corpus fails"; exit 1; }
    count=$((count + $(find corpus/"$target" -type f | wc -l)))
  done
  rm -f replay.log
  echo "$count inputs of ${#targets[@]} targets replayed"
  exit 0
fi

# The toolchain's own instrumentation is an unstable option; memory errors cannot happen without unsafe code.
export RUSTC_BOOTSTRAP=1
for target in "${targets[@]}"; do
  found=target/found/"$target"
  mkdir -p "$found"
  seeds=(corpus/"$target")
  case $target in
    guest_binary) seeds+=(../fixtures) ;;
    capability_file) seeds+=(../tests/published_capabilities) ;;
  esac
  cargo fuzz run -s none --fuzz-dir . "$target" "$found" "${seeds[@]}" -- -max_total_time="$what" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 2>&1 |
    grep -E "stat::|panicked|SUMMARY|Test unit written" || true
done
