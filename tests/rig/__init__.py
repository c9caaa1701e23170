"""Real NAS software (hostapd, FreeRADIUS) and Debian's radclient against the whole product."""
