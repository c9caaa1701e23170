# What the rigs share; source it. A rig is real software on loopback and in a network namespace of its own. Its processes are bounded by
# RUN_SECONDS and ended by stop.sh, by the pids that were recorded at their start.
set -u
SCRIPTS=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
RUN=$RUN_DIR # configuration, logs and control sockets of this rig
RUN_SECONDS=${RUN_SECONDS:-200}
mkdir -p "$RUN"

bg() { # bg NAME COMMAND... : in the background, bounded, a session of its own, its pid kept in $RUN/pids
  local name=$1
  shift
  setsid timeout -k 3 "$RUN_SECONDS" "$@" >>"$RUN/$name.log" 2>&1 </dev/null &
  echo "$! $name" >>"$RUN/pids"
}

waitfor() { # waitfor SECONDS COMMAND... : until it succeeds
  local tries=$(($1 * 10)) i
  shift
  for i in $(seq 1 $tries); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  return 1
}

endpids() { # endpids SIGNAL [NAME] : end what `bg` started, newest first, if the pid is still the `timeout` that was started
  [ -f "$RUN/pids" ] || return 0
  local pid name
  tac "$RUN/pids" | while read -r pid name; do
    [ -z "${2:-}" ] || [ "$2" = "$name" ] || continue
    [ "$(cat /proc/$pid/comm 2>/dev/null)" = timeout ] || continue
    kill "-$1" -- "-$pid" 2>/dev/null
    waitfor 3 test ! -d "/proc/$pid" || kill -KILL -- "-$pid" 2>/dev/null
  done
}

radiusd_conf() { # radiusd_conf DIRECTORY : the head of a radiusd.conf that keeps everything in one directory
  cat <<X
prefix = /usr
libdir = /usr/lib/freeradius
run_dir = $1
pidfile = $1/pid
logdir = $1
raddbdir = $1
hostname_lookups = no
max_requests = 16384
max_request_time = 10
cleanup_delay = 2
log {
 destination = stdout
}
security {
 max_attributes = 200
 reject_delay = 0
 status_server = yes
 allow_vulnerable_openssl = yes
}
thread pool {
 start_servers = 2
 max_servers = 8
 min_spare_servers = 1
 max_spare_servers = 3
 max_requests_per_server = 0
}
X
}

start_freeradius() { # start_freeradius DIRECTORY : returns when it is ready
  bg freeradius freeradius -f -d "$1" -l stdout
  waitfor 10 grep -q "Ready to process" "$RUN/freeradius.log" && return
  echo "freeradius is not ready:"
  tail -5 "$RUN/freeradius.log"
  exit 1
}
