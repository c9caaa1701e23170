#!/bin/bash
# FreeRADIUS 3.2 beside the product, in one of four MODEs:
#   proxy      accounting at IN_PORT is proxied: the NAS is answered only when 127.0.0.1:ACCT_PORT answers
#   replicate  a copy goes to ACCT_PORT (rlm_replicate) and FreeRADIUS answers the NAS itself
#   detail     answered at once, written to a detail file, which a detail listener sends to ACCT_PORT until that answers
#   coa        takes Disconnect-Requests at DAE_PORT and answers by User-Name: nak-503, nak-none, drop, slow-2 (seconds), ack-201; else ACK
. "$(dirname -- "$0")/lib.sh"
D=$RUN/raddb
: >"$RUN/pids"
mkdir -p "$D" "$RUN/detail"

accounting_listener() { # with what stands on standard input as its sections
  cat <<X
server front {
 listen {
  type = acct
  ipaddr = 127.0.0.1
  port = $IN_PORT
 }
$(cat)
}
X
}

{
  radiusd_conf "$D"
  cat <<X
proxy_requests = yes
client nas {
 ipaddr = 127.0.0.0/8
 secret = "$SECRET"
 require_message_authenticator = no
}
modules {
 always ok {
  rcode = ok
 }
 always reject {
  rcode = reject
 }
 always handled {
  rcode = handled
 }
 replicate {
 }
 exec {
  wait = yes
  input_pairs = request
  shell_escape = yes
  timeout = 10
 }
 detail detail_copy {
  filename = $RUN/detail/detail-copy
  permissions = 0600
  header = "%t"
  locking = yes
 }
}
X
  [ "$MODE" = coa ] || cat <<X
proxy server {
 default_fallback = no
}
home_server product {
 type = acct
 ipaddr = 127.0.0.1
 port = $ACCT_PORT
 secret = "$ACCT_SECRET"
 response_window = 5
 zombie_period = 10
 revive_interval = 20
 status_check = none
}
home_server_pool product {
 type = fail-over
 home_server = product
}
realm product {
 acct_pool = product
}
X
  case $MODE in
    proxy) accounting_listener <<X ;;
 preacct {
  update control {
   &Proxy-To-Realm := "product"
  }
 }
 accounting {
  ok
 }
X
    replicate) accounting_listener <<X ;;
 preacct {
  update control {
   &Replicate-To-Realm := "product"
  }
  replicate
  ok
 }
 accounting {
  ok
 }
X
    detail) accounting_listener <<X
 preacct {
  ok
 }
 accounting {
  detail_copy
 }
X
      cat <<X ;;
server reader {
 listen {
  type = detail
  filename = $RUN/detail/detail-copy
  load_factor = 100
  poll_interval = 1
  retry_interval = 2
  track = yes
 }
 preacct {
  update control {
   &Proxy-To-Realm := "product"
  }
 }
 accounting {
  ok
 }
}
X
    coa) cat <<X ;;
server coa {
 listen {
  type = coa
  ipaddr = 127.0.0.1
  port = $DAE_PORT
  virtual_server = coa
 }
 recv-coa {
  update control {
   &Tmp-String-0 := "%{User-Name}"
  }
  if (&control:Tmp-String-0 =~ /^slow-([0-9])/) {
   if ("%{exec:/bin/sleep %{1}}" == "x") {
    ok
   }
  }
  if (&control:Tmp-String-0 =~ /^drop/) {
   update control {
    &Response-Packet-Type := Do-Not-Respond
   }
   handled
  }
  elsif (&control:Tmp-String-0 =~ /^(nak|ack)-([0-9]+)/) {
   update reply {
    &Error-Cause := "%{2}"
   }
  }
  if (&control:Tmp-String-0 =~ /^nak/) {
   reject
  }
  else {
   ok
  }
 }
 send-coa {
  ok
 }
}
X
  esac
} >"$D/radiusd.conf"
start_freeradius "$D"
