#!/usr/bin/env bash
# Long runs of the property tests of everything that reads bytes from outside, one after the other, each with new seeds.
#
#   tests/properties.sh [SECONDS [TARGET…]]
#
# SECONDS is the processor time for each target (600 when it is not said), so a busy machine tries as much as an idle one;
# TARGET is one or more of those below (all when none is said). A failure is printed with the smallest input that was
# found, and its seed is kept by proptest in `proptest-regressions/` or in a `.regressions` file: keep that file with the
# fix, and every later run of the tests tries it first.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A PROPERTIES=(
  [components]="wit_abi
    guest::tests::a_mutated_guest_never_panics
    guest::tests::a_shortened_guest_never_panics"
  [lifting]="wit_abi
    canonical::properties::a_guest_reads_the_values_that_were_lowered
    canonical::properties::a_response_without_attachments_keeps_everything_else
    canonical::properties::no_memory_harms_the_host"
  [capability_files]="tinclaw
    capability::tests::any_bytes_are_read_without_a_panic
    capability::tests::any_json_is_read_without_a_panic
    capability::tests::a_published_file_with_one_place_replaced_is_read_without_a_panic
    capability::tests::a_published_file_with_bytes_changed_is_read_without_a_panic
    capability::tests::a_published_file_with_pieces_put_in_is_read_without_a_panic"
  [urls]="tinclaw
    egress::target::tests::nothing_panics_and_what_is_accepted_is_stable
    egress::target::tests::arbitrary_text_never_panics
    egress::allowlist::tests::an_allowlist_entry_allows_exactly_what_it_declares"
  [paths]="tinclaw
    channel::workspace::tests::an_accepted_path_stays_inside_and_is_stable
    channel::workspace::tests::any_text_is_handled_without_a_panic"
  [signatures]="tinclaw
    webhook::tests::properties::invented_requests_never_panic_and_never_pass
    webhook::tests::properties::a_flipped_bit_never_verifies
    webhook::tests::properties::a_changed_field_of_a_form_never_verifies
    webhook::tests::properties::templates_never_panic_and_always_sign_the_body
    webhook::tests::properties::closed_unless_opened"
  [http_heads]="tinclaw
    server::head::tests::any_bytes_are_refused_or_understood
    server::head::tests::near_heads_are_refused_or_understood
    server::chunked::tests::cuts_make_no_difference"
  [header_json]="tinclaw
    egress::headers::tests::nothing_panics_and_no_line_break_survives
    egress::headers::tests::almost_valid_header_json_is_refused_or_read_alike_by_another_parser
    egress::headers::tests::any_object_of_strings_is_judged_by_its_bytes"
)
ORDER=(components lifting capability_files urls paths signatures http_heads header_json)

seconds=${1:-600}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=("${ORDER[@]}")

# The binaries are copied, so that a build meanwhile does not change what is run. PROPERTIES_DIR names a directory with such
# copies, which are then taken as they are.
binaries=${PROPERTIES_DIR:-target/properties}
if [ -z "${PROPERTIES_DIR:-}" ]; then
  mkdir -p "$binaries"
  if ! said=$(cargo test --no-run -p tinclaw -p wit-abi --lib 2>&1); then
    echo "$said" >&2
    exit 1
  fi
  sed -n 's/.*Executable .*(\(.*\))$/\1/p' <<<"$said" |
    while read -r built; do
      name=$(basename "$built")
      cp "$built" "$binaries/${name%-*}"
    done
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM

# Runs the properties $3… of the binary $1 with $2 cases each, and prints the processor time in milliseconds.
round() {
  local binary=$1 cases=$2
  shift 2
  local TIMEFORMAT='%U %S' spent
  # The last line on the group's error output is that of `time`.
  if ! spent=$( { time PROPTEST_CASES=$cases "$binary" --exact --test-threads=1 "$@" >"$log" 2>&1; } 2>&1 ); then
    cat "$log" >&2
    return 1
  fi
  if ! grep -q "^test result: ok. $# passed" "$log"; then
    echo "not every property is there; those that are:" >&2
    cat "$log" >&2
    return 1
  fi
  awk '{ printf "%d\n", ($1 + $2) * 1000 + 1 }' <<<"$spent"
}

failed=0
for target in "${targets[@]}"; do
  read -r -d '' -a properties <<<"${PROPERTIES[$target]}" || true
  binary=$binaries/${properties[0]}
  properties=("${properties[@]:1}")
  cases=500 total=0 spent=0 outcome="nothing found"
  while [ "$spent" -lt $((seconds * 1000)) ]; do
    if ! took=$(round "$binary" "$cases" "${properties[@]}"); then
      outcome="FAILED" failed=1
      break
    fi
    spent=$((spent + took)) total=$((total + cases))
    # Rounds of about ten seconds.
    cases=$((cases * 10000 / took)) && cases=$((cases < 100 ? 100 : cases > 1000000 ? 1000000 : cases))
  done
  echo "$target: $outcome; ${#properties[@]} properties, $total cases of each, $((spent / 1000)) s of processor time"
done
exit $failed
