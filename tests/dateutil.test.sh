#!/usr/bin/env bash
# Compares recurrence rules with dateutil, an independent implementation from PyPI: thousands at
# random, with a seed that is printed. tests/dateutil/main.rs knows the differences; any other
# fails. Python 3.9 or newer is installed by apt-get if it is missing and this runs as root.
#
#   FLEETCRON_DATEUTIL_SEED=7 tests/dateutil.test.sh    replays a seed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seed=${FLEETCRON_DATEUTIL_SEED:-20261122}
requirements=(python-dateutil==2.9.0.post0 six==1.17.0)
dir=target/dateutil
venv=$dir/venv
mkdir -p "$dir"

has_python() {
    python3 -c 'import sys, venv, ensurepip' 2>/dev/null
}

if ! has_python; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "dateutil.test.sh: installing python3, python3-venv and python3-pip"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq python3 python3-venv python3-pip >/dev/null
    fi
    if ! has_python; then
        echo "dateutil.test.sh: needs Python 3.9 or newer with venv and pip;" \
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

echo "dateutil.test.sh: seed $seed"
"$venv/bin/python" tests/dateutil/cases.py "$seed" 3000 >"$dir/cases.tsv"
FLEETCRON_DATEUTIL_CASES=$PWD/$dir/cases.tsv cargo test --locked --test dateutil -- --nocapture
