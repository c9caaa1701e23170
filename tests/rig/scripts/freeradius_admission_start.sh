#!/bin/bash
# FreeRADIUS 3.2 that takes logins at AUTH_PORT and asks the product at 127.0.0.1:HTTP_PORT before it lets anybody in, by the configuration
# in deploy/freeradius. Every user's password is `password`; `guest` may stay for an hour, `dot1x` is authenticated anew after one; WHEN_SILENT
# (open, closed) is what happens where the product gives no answer.
. "$(dirname -- "$0")/lib.sh"
D=$RUN/raddb
DEPLOY=$SCRIPTS/../../../deploy/freeradius
: >"$RUN/pids"
mkdir -p "$D"
sed -e "s|http://127.0.0.1:8181|http://127.0.0.1:$HTTP_PORT|" -e "s|replace-this-token|$TOKEN|" \
  "$DEPLOY/mods-available/curfew" >"$D/module"
sed -e "s|^curfew_when_silent = .*|curfew_when_silent = \"$WHEN_SILENT\"|" "$DEPLOY/policy.d/curfew" >"$D/policy"
{
  radiusd_conf "$D"
  cat <<X
client ap {
 ipaddr = 127.0.0.0/8
 secret = "$SECRET"
 require_message_authenticator = no
}
modules {
 pap {
 }
 always ok {
  rcode = ok
 }
 always reject {
  rcode = reject
 }
 \$INCLUDE $D/module
}
policy {
 \$INCLUDE $D/policy
}
server login {
 listen {
  type = auth
  ipaddr = 127.0.0.1
  port = $AUTH_PORT
 }
 authorize {
  update control {
   &Cleartext-Password := "password"
  }
  if (&User-Name == "guest" || &User-Name == "dot1x") {
   update reply {
    &Session-Timeout := 3600
   }
  }
  if (&User-Name == "dot1x") {
   update reply {
    &Termination-Action := RADIUS-Request
   }
  }
  pap
 }
 authenticate {
  pap
 }
 post-auth {
  curfew_admission
  Post-Auth-Type REJECT {
   ok
  }
 }
}
X
} >"$D/radiusd.conf"
start_freeradius "$D"
