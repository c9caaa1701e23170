#!/bin/sh
# Installs the Debian packages of a list as root: `sh deploy/install-packages.sh apt-packages.txt` is what the tests run beside Kafka,
# `bench-packages.txt` what the bench measures against. Never fails: what is missing afterwards is listed, and whatever needs it is skipped
# with the reason.
set -u
cd "$(dirname "$0")"
list=$1

missing() {
    grep -v -e '^#' -e '^$' "$list" | while read -r package; do
        dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
    done
}

install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" </dev/null >/dev/null 2>&1
}

# No service may start by being installed: tests and bench start their own, with their own settings.
forbid_services() {
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] && return
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
}

if ! command -v dpkg-query >/dev/null; then
    echo "$list: this is no Debian; what needs one of these is skipped where it is not there:" $(grep -v '^#' "$list") >&2
    exit 0
fi
wanted=$(missing)
[ -z "$wanted" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "$list: installing" $wanted >&2
    forbid_services
    install $wanted || {
        apt-get update -q </dev/null >/dev/null 2>&1
        install $wanted || for package in $wanted; do install "$package"; done # one that is not to be had must not cost the others
    }
    wanted=$(missing)
    [ -z "$wanted" ] && exit 0
fi
echo "$list: not installed, so what needs them is skipped:" $wanted >&2
exit 0
