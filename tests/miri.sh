#!/usr/bin/env bash
# Runs unit tests of the pure core in Miri, an interpreter that knows what may not be.
#
#   tests/miri.sh [FILTER...]   these, as the test program takes them; or those below
#
# fleetcron has no unsafe code. What Miri finds all the same: a dependency that the core calls
# (roaring, bytes, memchr, serde_json, crc32fast, ulid) and that does what is undefined with what we
# hand it; and memory that is never given back. It is some thousand times slower than the machine,
# so it runs what forms bytes, numbers and short texts, each property with one random case.
#
# Left out for their time: the single tests below, more than 10 s each, most of them properties over
# many values; all that reads tables of time zones or compiles a schedule; the engine, for which
# there are simulations. Left out because Miri does not know the calls: tests that make files as a
# journal does (`linkat`), start processes or open sockets.
#
# Which tests there are, a build with the usual toolchain tells. Needs the nightly toolchain with
# its components miri and rust-src; FLEETCRON_NIGHTLY names another one. Builds in target/miri.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

modules='actor|bytes|command_limit|delivery_state|id|idempotency|job_past|json|keep|label|live|pause|
policy|recording|rollout::amount|size|statistics|store_kind|target|time|wire|
agent::(output|seen|template)|client::journal::tests::bytes|engine::in_flight|
history::index::places|store::(backup::ops|key|ledger|open_set|page)'

slow='agent::output::tests::(the_limit_holds|what_is_beyond)|agent::seen::tests::any_pieces|
client::journal::tests::bytes::(cut_at_any_byte|damage_in_the_middle|what_is_no_journal)|
engine::in_flight::tests::the_lists|history::index::places::tests::(a_set|every_second)|
recording::tests::what_was_recorded|statistics::histogram::tests::(a_perc|two_added|what_was_written)|
statistics::tests::(the_largest|the_statistics_of|what_was_written)|
store::backup::ops::tests::operations|store::key::.*reading_any_key|
store::ledger::tests::(a_page_that_is_cut|what_was_written)|
store::open_set::tests::(a_set|full_and)|store::page::tests::responses|
target::tests::length_and|wire::stream|wire::tests::(any_split|gathered)'

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    mapfile -t names < <(cargo test --locked --lib --quiet -- --list |
        sed -n 's/: test$//p' | grep -E "^(${modules//$'\n'/})::" | grep -vE "^(${slow//$'\n'/})")
    [ ${#names[@]} -gt 0 ] || { echo "miri.sh: no test has a name of those modules" >&2; exit 1; }
    # By its whole name each: a search in Miri takes longer than some of the tests.
    names+=(--exact)
fi
# Proptest asks the clock, and looks for the file of its failures.
export MIRIFLAGS="${MIRIFLAGS:-} -Zmiri-disable-isolation"
export PROPTEST_CASES="${PROPTEST_CASES:-1}" PROPTEST_MAX_SHRINK_ITERS=0
exec cargo "+${FLEETCRON_NIGHTLY:-nightly}" miri test --locked --lib --target-dir target/miri -- \
    "${names[@]}"
