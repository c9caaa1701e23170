#!/bin/sh
# Prepares a checkout: .venv with curfew in it, and the jars of the embedded Kafka. Run again it does only what has changed.
# Where packages come from is the machine's own setting (pip's and Maven's); nothing here names a place.
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-} python3 python3.11 python3.12 python3.13 python3.14; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    say "Python 3.11 or newer is needed, and none was found on the PATH. Install it, or run: make PYTHON=/path/to/python3 ..."
    exit 1
}

make_venv() {
    python=$(find_python)
    rm -rf .venv
    "$python" -m venv .venv >/dev/null 2>&1 && return
    rm -rf .venv
    # Debian keeps ensurepip, which venv needs, in a package of its own.
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "$python cannot make a virtual environment; installing $package"
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y -q "$package" </dev/null >/dev/null 2>&1 ||
            { apt-get update -q </dev/null >/dev/null && apt-get install -y -q "$package" </dev/null >/dev/null; } || true
    fi
    "$python" -m venv .venv && return
    rm -rf .venv
    say "$python cannot make a virtual environment. Install the package that holds its venv module (Debian: $package)."
    exit 1
}

install_python_packages() {
    wanted="$(pwd) $(cat pyproject.toml deploy/constraints.txt | cksum)" # the path too: an environment cannot be moved
    [ "$(cat .venv/setup-stamp 2>/dev/null)" = "$wanted" ] && return
    say "installing the pinned Python packages into .venv"
    # As variables the constraints hold for the build of the package as well, whatever pip's version.
    constraints="$(pwd)/deploy/constraints.txt"
    PIP_CONSTRAINT="$constraints" PIP_BUILD_CONSTRAINT="$constraints" \
        .venv/bin/python -m pip install -q --no-input --disable-pip-version-check -e '.[dev]' </dev/null
    echo "$wanted" >.venv/setup-stamp
}

# A machine without Maven still runs what needs no broker of its own, so this only warns; `curfew up` refuses with the same sentence.
fetch_jars() {
    [ -n "${KAFKA_BOOTSTRAP_SERVERS:-}" ] && return
    .venv/bin/python - <<'PYTHON'
import sys
from agents.broker import BrokerError, ensure_jars

try:
    ensure_jars()
except BrokerError as error:
    print(f"setup: {error}", file=sys.stderr)
PYTHON
}

is_new_enough .venv/bin/python || make_venv
install_python_packages
fetch_jars
