#!/bin/bash
# End a rig of either kind and take its interfaces away.
. "$(dirname -- "$0")/lib.sh"
endpids TERM
[ -n "${ID:-}" ] || exit 0
for link in $(ls /sys/class/net | grep "^rig${ID}v[0-9]*$"); do ip link del "$link"; done
ip link del "rig${ID}br" 2>/dev/null
ip netns del "rig${ID}c" 2>/dev/null
exit 0
