#!/bin/bash
# wpa.sh I COMMAND... : wpa_cli for supplicant I of a hostapd rig; logon, logoff, reassociate, status.
. "$(dirname -- "$0")/lib.sh"
supplicant=$1
shift
exec ip netns exec "rig${ID}c" timeout 5 wpa_cli -p "$RUN/wpa.ctrl" -i "s$supplicant" "$@"
