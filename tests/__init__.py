"""Pure, flow, broker and rig tests; `make test` runs all that this machine can."""
