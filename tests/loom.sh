#!/usr/bin/env bash
# Goes through every order in which threads can step through what is built of atomic numbers alone
# (see tests/loom); everything else that threads share is behind a lock or a channel.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
RUSTFLAGS="--cfg loom" exec cargo test --locked --manifest-path tests/loom/Cargo.toml \
    --target-dir target/loom "$@"
