"""Wire tests as text: each vector in tests/vectors/ cites its RFC section. The format is told at the head of rfc2865.txt."""

import json
from pathlib import Path

import pytest

from streams.radius.authenticator import verify_keyed_request, verify_status_server
from streams.radius.decode import Decoded, decode_accounting
from streams.radius.framing import Malformed, check_framing
from streams.radius.respond import STATUS_SERVER, accounting_response

FOLDER = Path(__file__).parent.parent / "vectors"
DECODED = ("status", "fields", "attributes-named", "dropped", "proxy-states", "event-timestamp-s", "gigawords")
OTHERS = ("cite", "packet", "attributes", "secret", "malformed", "authentic", "refused", "response")


def read_vectors(file):
    """Read a file's vectors, and hold it to the count on its last line."""
    vectors = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        word, _, rest = line.partition(" ")
        if word == "vector":
            vectors.append({"vector": rest, "where": f"{file.name}:{number}"})
        elif word == "count":
            assert len(vectors) == int(rest), f"{file.name} says {rest}"
        elif word and word != "#":
            assert word in (*DECODED, *OTHERS), f"{file.name}:{number}: {word}"
            assert word not in vectors[-1], f"{file.name}:{number}: {word} twice"
            vectors[-1][word] = rest
    return vectors


def datagram_of(vector):
    if "packet" in vector:
        return bytes.fromhex(vector["packet"])
    attributes = bytes.fromhex(vector["attributes"])
    return b"\x04\x01" + (20 + len(attributes)).to_bytes(2) + bytes(16) + attributes


def expected_of(vector):
    said = {name: json.loads(vector[name]) for name in DECODED if name in vector}
    return Decoded(
        said.get("status"),
        said.get("fields", {}),
        said.get("event-timestamp-s"),
        said.get("attributes-named", {}),
        said.get("dropped", []),
        [bytes.fromhex(state) for state in said.get("proxy-states", [])],
        said.get("gigawords", False),
    )


VECTORS = [vector for file in sorted(FOLDER.glob("*.txt")) for vector in read_vectors(file)]


def test_no_vector_was_skipped():
    assert len(VECTORS) == 99


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['where']} {vector['vector']}")
def test_the_vector_comes_out_as_its_section_says(vector):
    """1.2, 1.3, 1.6, 1.7: refused by name, or decoded to exactly what is written, and nothing else."""
    datagram = datagram_of(vector)
    assert vector["cite"].startswith("RFC ")

    length = check_framing(datagram)

    if "malformed" in vector:
        assert length == Malformed(vector["malformed"])
        return
    assert length == int.from_bytes(datagram[2:4])
    packet = datagram[:length]
    if "secret" in vector:
        assert_authenticity(vector, packet, vector["secret"].encode())
    else:
        assert decode_accounting(datagram) == expected_of(vector)


def assert_authenticity(vector, packet, secret):
    verify = verify_status_server if packet[0] == STATUS_SERVER else verify_keyed_request
    assert verify(packet, secret) == (None if "authentic" in vector else vector["refused"])
    if "response" in vector:
        assert accounting_response(packet, secret) == bytes.fromhex(vector["response"])
