#!/usr/bin/env bash
# Whether the simulation finds what is wrong: builds fleetcron with bugs to choose from, puts in
# one after the other, and prints for each how many seeds it took to find it. Fails if one is not
# found. FLEETCRON_BUG=NAME looks at one alone, FLEETCRON_BUG=all at each from the first seed on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo test --locked --features seeded-bugs --test mutations -- --nocapture "$@"
