#!/usr/bin/env bash
# Runs every test: library, integration and documentation tests (cargo builds the examples on the
# way), then each tests/*.test.sh. Needs Rust; a shell test that needs more says so, or installs it
# if it may. The last line is the sum of all, and the exit code is not 0 if anything failed or could
# not be built.
#
#   tests/run.sh [arguments of the test programs, such as a part of a test's name]
#
# Test programs run one after the other, each with as many threads as there are processors; the
# tests wait for states and not for lengths of time, so a busy machine only makes them slower.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0
failed=0

# Rust: every test even after a failure, so that one run tells all.
cargo_code=0
CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}" \
    cargo test --locked --no-fail-fast -- "$@" 2>&1 | tee "$log" || cargo_code=$?
read -r passed failed ignored < <(awk '
    /^test result: / {
        for (i = 2; i <= NF; i++) {
            if ($i == "passed;") p += $(i - 1)
            if ($i == "failed;") f += $(i - 1)
            if ($i == "ignored;") g += $(i - 1)
        }
    }
    END { print p + 0, f + 0, g + 0 }
' "$log")
if [ "$ignored" -gt 0 ]; then
    echo "run.sh: $ignored Rust tests are marked #[ignore] and did not run"
fi
# A build error or a program that was killed has no result line: it counts as one failure.
if [ "$cargo_code" -ne 0 ] && [ "$failed" -eq 0 ]; then
    echo "run.sh: cargo test ended with code $cargo_code before it could count its tests" >&2
    failed=1
fi

# Shell: each file is one test. An absent match leaves the pattern itself, which is no file.
scripts=0
for script in tests/*.test.sh; do
    [ -e "$script" ] || continue
    scripts=$((scripts + 1))
    if bash "$script"; then
        echo "shell test $script ... ok"
        passed=$((passed + 1))
    else
        echo "shell test $script ... FAILED"
        failed=$((failed + 1))
    fi
done
echo "run.sh: $scripts shell tests ran"

if [ "$((passed + failed))" -eq 0 ]; then
    echo "run.sh: no test ran at all, which is a failure" >&2
    failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
