"""Tests of the pure parts: no broker, no network beyond loopback."""
