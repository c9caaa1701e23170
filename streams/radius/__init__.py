"""RADIUS octets: framing, authenticators, dictionaries, decoding, responses, disconnecting (RFC 2865, 2866, 2869, 5176, 5997, 6929)."""
