#!/usr/bin/env bash
# Compares cron expressions with croniter, an independent implementation from PyPI: thousands at
# random, with a seed that is printed. tests/croniter/main.rs knows the differences; any other
# fails. Python 3.9 or newer is installed by apt-get if it is missing and this runs as root.
#
#   FLEETCRON_CRONITER_SEED=7 tests/croniter.test.sh    replays a seed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seed=${FLEETCRON_CRONITER_SEED:-20261122}
requirements=(croniter==6.0.0 python-dateutil==2.9.0.post0 pytz==2025.2 six==1.17.0 tzdata==2025.2)
dir=target/croniter
venv=$dir/venv
mkdir -p "$dir"

has_python() {
    python3 -c 'import sys, venv, ensurepip, zoneinfo' 2>/dev/null
}

if ! has_python; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "croniter.test.sh: installing python3, python3-venv and python3-pip"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq python3 python3-venv python3-pip >/dev/null
    fi
    if ! has_python; then
        echo "croniter.test.sh: needs Python 3.9 or newer with venv and pip;" \
            "install python3, python3-venv and python3-pip (or run as root on Debian)" >&2
        exit 1
    fi
fi

# Kept between runs; made anew when the versions change or the last time was cut short.
wanted="${requirements[*]}"
if [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${requirements[@]}"
    echo "$wanted" >"$venv/installed"
fi

echo "croniter.test.sh: seed $seed"
# The machine's own time zone data could be of another year than that of the program.
PYTHONTZPATH='' "$venv/bin/python" tests/croniter/cases.py "$seed" 4000 600 >"$dir/cases.tsv"
FLEETCRON_CRONITER_CASES=$PWD/$dir/cases.tsv cargo test --locked --test croniter -- --nocapture
