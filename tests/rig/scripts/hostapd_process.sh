#!/bin/bash
# hostapd_process.sh start | kill : start hostapd of a rig that stands, or end it without warning (SIGKILL).
. "$(dirname -- "$0")/lib.sh"
if [ "$1" = kill ]; then
  endpids KILL hostapd
  exit
fi
: >"$RUN/hostapd.log"
bg hostapd hostapd -t "$RUN/hostapd.conf"
waitfor 10 grep -q "AP-ENABLED" "$RUN/hostapd.log" && exit
echo "hostapd is not ready:"
tail -5 "$RUN/hostapd.log"
exit 1
