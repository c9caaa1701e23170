#!/bin/sh
# Installs what the tests run beside Kafka (apt-packages.txt) as root on Debian. Never fails: what is missing afterwards is listed, and
# the tests that need it are skipped with the reason.
set -u
cd "$(dirname "$0")"

missing() {
    grep -v -e '^#' -e '^$' apt-packages.txt | while read -r package; do
        dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
    done
}

install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" </dev/null >/dev/null 2>&1
}

# No service may start by being installed: the tests start their own, with their own settings.
forbid_services() {
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] && return
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
}

if ! command -v dpkg-query >/dev/null; then
    echo "test packages: this is no Debian; tests that need one of these are skipped where it is not there:" $(grep -v '^#' apt-packages.txt) >&2
    exit 0
fi
wanted=$(missing)
[ -z "$wanted" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "test packages: installing" $wanted >&2
    forbid_services
    install $wanted || {
        apt-get update -q </dev/null >/dev/null 2>&1
        install $wanted || for package in $wanted; do install "$package"; done # one that is not to be had must not cost the others
    }
    wanted=$(missing)
    [ -z "$wanted" ] && exit 0
fi
echo "test packages: not installed, so tests that need them are skipped:" $wanted >&2
exit 0
