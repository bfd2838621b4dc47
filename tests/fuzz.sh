#!/usr/bin/env bash
# Fuzzes the parsers, one after the other with as many at a time as there are processors.
#
#   tests/fuzz.sh [SECONDS [PARSER...]]   each, or these, for so many seconds (default 600)
#   tests/fuzz.sh --keep [PARSER...]      takes what was learnt into the corpora, and makes them small
#
# The corpora in tests/fuzz/corpus are the beginning; what is learnt goes to tests/fuzz/learnt. An
# input that breaks a promise is written to tests/fuzz/artifacts, and the run fails. Once mended, it
# is kept as tests/fuzz/found/PARSER/NAME: `cargo test` plays every file there and in the corpora.
#
# Needs cargo-fuzz, and a C++ compiler for libFuzzer. No sanitizer watches the memory: fleetcron has
# no unsafe code, and one makes the build and each run twice as slow and needs the nightly toolchain.
# FLEETCRON_SANITIZER=address turns it on, for what dependencies do. FLEETCRON_SEED=N makes the
# choices at random the same each time; with FLEETCRON_FUZZ_RUNS=N, so many inputs at most, a parser
# that is fast enough gets the same inputs each time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fuzz=tests/fuzz
sanitizer=${FLEETCRON_SANITIZER:-none}
toolchain=()
[ "$sanitizer" = none ] || toolchain=("+${FLEETCRON_NIGHTLY:-nightly}")
seconds=600
keep=
if [ "${1:-}" = "--keep" ]; then
    keep=1
    shift
elif [ $# -gt 0 ]; then
    case $1 in
        '' | *[!0-9]*) echo "fuzz.sh: $1 is no number of seconds" >&2; exit 2 ;;
    esac
    seconds=$1
    shift
fi
parsers=("$@")
if [ ${#parsers[@]} -eq 0 ]; then
    for folder in "$fuzz"/corpus/*/; do
        parsers+=("$(basename "$folder")")
    done
fi
for parser in "${parsers[@]}"; do
    [ -d "$fuzz/corpus/$parser" ] || { echo "fuzz.sh: no parser has the corpus $parser" >&2; exit 2; }
done

begun=$SECONDS
cargo "${toolchain[@]}" fetch --locked --quiet --manifest-path "$fuzz/Cargo.toml"
cargo "${toolchain[@]}" fuzz build --fuzz-dir "$fuzz" --dev --sanitizer "$sanitizer" parse
program=$(find "$fuzz/target" -type f -path '*/debug/parse' -perm -u+x | head -n 1)
[ -n "$program" ] || { echo "fuzz.sh: the fuzzer was not built" >&2; exit 1; }
echo "fuzz.sh: built after $((SECONDS - begun)) s"

# What holds for every run: no input above 4 KiB, none slower than 20 s, none that takes 1 GiB.
limits=(-max_len=4096 -timeout=20 -rss_limit_mb=1024)

# Fuzzes one parser; the line that it prints is its result.
run_one() {
    local parser=$1 log=$2 code=0
    mkdir -p "$fuzz/learnt/$parser" "$fuzz/artifacts/$parser"
    FLEETCRON_FUZZ=$parser "$program" "${limits[@]}" -dict="$fuzz/words" \
        -max_total_time="$seconds" -runs="${FLEETCRON_FUZZ_RUNS:--1}" -print_final_stats=1 -seed="${FLEETCRON_SEED:-0}" \
        -artifact_prefix="$fuzz/artifacts/$parser/" \
        "$fuzz/learnt/$parser" "$fuzz/corpus/$parser" >"$log" 2>&1 || code=$?
    local inputs
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "$code" -ne 0 ]; then
        echo "fuzz.sh: $parser is BROKEN, after ${inputs:-0} inputs; the end of what it said:" >&2
        grep -v '^#' "$log" | tail -n 40 >&2
        return 1
    fi
    local covered
    covered=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
    echo "fuzz.sh: $parser: $inputs inputs in $seconds s, ${covered:-cov: ?}"
}

# Makes a corpus as small as it can be while it reaches the same places.
keep_one() {
    local parser=$1 log=$2 small
    small=$(mktemp -d)
    mkdir -p "$fuzz/learnt/$parser"
    FLEETCRON_FUZZ=$parser "$program" "${limits[@]}" -set_cover_merge=1 \
        "$small" "$fuzz/corpus/$parser" "$fuzz/learnt/$parser" >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        return 1
    }
    rm -rf "$fuzz/learnt/$parser" "${fuzz:?}/corpus/$parser"
    mv "$small" "$fuzz/corpus/$parser"
    chmod 755 "$fuzz/corpus/$parser"
    echo "fuzz.sh: $parser: $(find "$fuzz/corpus/$parser" -type f | wc -l) files kept"
}

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
failed=0
waiting=()
wait_for_one() {
    wait "${waiting[0]}" || failed=$((failed + 1))
    waiting=("${waiting[@]:1}")
}
for parser in "${parsers[@]}"; do
    if [ -n "$keep" ]; then
        keep_one "$parser" "$logs/$parser" &
    else
        run_one "$parser" "$logs/$parser" &
    fi
    waiting+=("$!")
    [ ${#waiting[@]} -lt "$(nproc)" ] || wait_for_one
done
while [ ${#waiting[@]} -gt 0 ]; do
    wait_for_one
done
echo "fuzz.sh: ${#parsers[@]} parsers, $failed broken, after $((SECONDS - begun)) s"
[ "$failed" -eq 0 ]
