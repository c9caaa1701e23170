#!/bin/bash
# hostapd (802.1X authenticator on a bridge, driver wired; RADIUS accounting client; RFC 5176 server) with N wpa_supplicants in a
# network namespace behind that bridge, and FreeRADIUS (EAP-MD5) for the logins.
# ID names the interfaces (at most 6 characters), RUN_DIR holds the files. Accounting goes to 127.0.0.1:ACCT_PORT.
. "$(dirname -- "$0")/lib.sh"
NAS_ID=${NAS_ID:-rig-hostapd} INTERIM=${INTERIM:-5} USER_NAME=${USER_NAME:-alice} USER_PASS=wonderland
N=${N:-1} SAME_USER=${SAME_USER:-0} # users are $USER_NAME, ${USER_NAME}2, ... or all the same
DAE_REQUIRE_TS=${DAE_REQUIRE_TS:-0} DAE_REQUIRE_MA=${DAE_REQUIRE_MA:-0}
AUTH_SECRET=authsecret
BRIDGE=rig${ID}br NAMESPACE=rig${ID}c
: >"$RUN/pids"

ip netns add "$NAMESPACE" && ip -n "$NAMESPACE" link set lo up || exit 1
# group_fwd_mask 8: a bridge keeps EAPOL to itself otherwise
ip link add "$BRIDGE" type bridge group_fwd_mask 8 forward_delay 0 || exit 1
ip link set "$BRIDGE" addrgenmode none address 02:00:00:0a:00:01 up

mkdir -p "$RUN/raddb"
supplicants=()
for i in $(seq 1 "$N"); do
  ip link add "rig${ID}v$i" type veth peer name "s$i" netns "$NAMESPACE"
  ip link set "rig${ID}v$i" addrgenmode none master "$BRIDGE" up
  bridge link set dev "rig${ID}v$i" isolated on
  ip -n "$NAMESPACE" link set "s$i" addrgenmode none address "$(printf 02:aa:00:00:00:%02x "$i")" up
  user=$USER_NAME
  [ "$i" -gt 1 ] && [ "$SAME_USER" != 1 ] && user=$USER_NAME$i
  printf '%s Cleartext-Password := "%s"\n\tClass := "rig-class-1",\n\tChargeable-User-Identity := "cui-%s"\n' "$user" "$USER_PASS" "$user" >>"$RUN/raddb/users"
  cat >"$RUN/wpa$i.conf" <<X
ctrl_interface=$RUN/wpa.ctrl
ap_scan=0
network={
 key_mgmt=IEEE8021X
 eap=MD5
 identity="$user"
 password="$USER_PASS"
 eapol_flags=0
}
X
  [ "$i" -gt 1 ] && supplicants+=(-N)
  supplicants+=(-Dwired -i "s$i" -c "$RUN/wpa$i.conf")
done

{
  radiusd_conf "$RUN/raddb"
  cat <<X
client nas {
 ipaddr = 127.0.0.0/8
 secret = "$AUTH_SECRET"
 require_message_authenticator = no
}
modules {
 files {
  filename = $RUN/raddb/users
 }
 eap {
  default_eap_type = md5
  timer_expire = 60
  ignore_unknown_eap_types = no
  max_sessions = 1024
  md5 {
  }
 }
}
server auth {
 listen {
  type = auth
  ipaddr = 127.0.0.1
  port = $AUTH_PORT
 }
 authorize {
  files
  eap {
   ok = return
  }
 }
 authenticate {
  eap
 }
}
X
} >"$RUN/raddb/radiusd.conf"
start_freeradius "$RUN/raddb"

cat >"$RUN/hostapd.conf" <<X
interface=$BRIDGE
driver=wired
logger_stdout=-1
logger_stdout_level=0
ctrl_interface=$RUN/hostapd.ctrl
ieee8021x=1
eapol_version=2
eap_reauth_period=0
use_pae_group_addr=0
own_ip_addr=127.0.0.1
nas_identifier=$NAS_ID
auth_server_addr=127.0.0.1
auth_server_port=$AUTH_PORT
auth_server_shared_secret=$AUTH_SECRET
acct_server_addr=127.0.0.1
acct_server_port=$ACCT_PORT
acct_server_shared_secret=$ACCT_SECRET
radius_acct_interim_interval=$INTERIM
radius_request_cui=1
radius_das_port=$DAE_PORT
radius_das_client=127.0.0.1 $DAE_SECRET
radius_das_time_window=300
radius_das_require_event_timestamp=$DAE_REQUIRE_TS
radius_das_require_message_authenticator=$DAE_REQUIRE_MA
X
"$SCRIPTS/hostapd_process.sh" start || exit 1
bg wpa ip netns exec "$NAMESPACE" wpa_supplicant -t "${supplicants[@]}"
connected() { [ "$(grep -c CTRL-EVENT-CONNECTED "$RUN/wpa.log")" -ge "$N" ]; }
waitfor 30 connected && exit
echo "not all of $N supplicants were let in:"
tail -5 "$RUN/wpa.log"
exit 1
