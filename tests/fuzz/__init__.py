"""Octets from strangers, against everything that reads some."""
