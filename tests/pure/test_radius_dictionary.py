"""Dictionaries: what the packaged files say, and what a wrong line gets."""

import io
import re
from pathlib import Path

import pytest
from pyrad.dictionary import Dictionary

from streams.radius.dictionary import Attribute, DictionaryError, packaged, packaged_texts, parse
from streams.radius.fields import FIELDS

FREERADIUS = Path("/usr/share/freeradius")


def test_each_statement_is_understood():
    """1.7"""
    text = """
    # comment
    ATTRIBUTE User-Name 1 string   # comment
    ATTRIBUTE Tunnel-Password 69 string has_tag,encrypt=2
    ATTRIBUTE Fragile 241.3 octets
    VALUE Acct-Status-Type Start 1
    VENDOR Cisco 9
    VENDOR USR 429 format=4,0
    BEGIN-VENDOR Cisco
    ATTRIBUTE Cisco-AVPair 1 string
    END-VENDOR Cisco
    """
    dictionary = parse([("a", text)])

    assert dictionary.attributes == {
        (1,): Attribute("User-Name", "string"),
        (69,): Attribute("Tunnel-Password", "string", has_tag=True, is_secret=True),
        (241, 3): Attribute("Fragile", "octets"),
        (26, 9, 1): Attribute("Cisco-AVPair", "string"),
    }
    assert dictionary.values == {"Acct-Status-Type": {1: "Start"}}
    assert dictionary.vendors == {9: "Cisco", 429: "USR"}
    assert dictionary.odd_vendors == {429}


@pytest.mark.parametrize(
    "line",
    [
        "ATTRIBUTE User-Name 1",
        "ATTRIBUTE User-Name one string",
        "ATTRIBUTE User-Name 1 text",
        "ATTRIBUTE User-Name 1 string has_tag extra",
        "VALUE Acct-Status-Type Start",
        "VENDOR Cisco nine",
        "BEGIN-VENDOR Nobody",
        "END-VENDOR Nobody",
        "$INCLUDE /etc/passwd",
    ],
)
def test_a_wrong_line_is_named_with_its_file_and_number(line):
    with pytest.raises(DictionaryError, match=r"^dictionary\.x:2: cannot understand '" + re.escape(line)):
        parse([("dictionary.x", f"# first\n{line}\n")])


def test_two_attributes_cannot_have_one_number():
    with pytest.raises(DictionaryError, match=r"b:1: .*: First has this code"):
        parse([("a", "ATTRIBUTE First 1 string"), ("b", "ATTRIBUTE Second 1 string")])


def test_every_field_of_the_record_is_in_the_dictionary():
    assert {code for code in FIELDS if (code,) not in packaged().attributes} == set()


def test_names_are_given_once():
    """1.7: `attributes` is keyed by name, so two attributes of one name would be mixed up."""
    names = [attribute.name for attribute in packaged().attributes.values()]
    assert len(names) == len(set(names))
    assert not set(names) & set(FIELDS.values())


def test_pyrad_reads_the_same_dictionary():
    """1.7: what pyrad cannot hold are the containers and IPv4 prefixes."""
    theirs = Dictionary()
    for _, text in packaged_texts():
        theirs.ReadDictionary(io.StringIO(text))

    ours = {attribute.name for attribute in packaged().attributes.values() if attribute.type not in ("vsa", "extended", "long-extended")}
    assert ours - set(theirs.attributes) == {"PMIP6-Home-IPv4-HoA", "PMIP6-Visited-IPv4-HoA"}
    assert set(theirs.attributes) - ours == set()


@pytest.mark.skipif(not FREERADIUS.is_dir(), reason="FreeRADIUS's dictionaries are not installed here")
def test_numbers_and_types_are_freeradius_own():
    """1.7: an oracle for slips of the pen; the names are free, the numbers are not."""
    theirs = {}
    vendors = {}
    for file in FREERADIUS.glob("dictionary.*"):
        vendor = ""
        for line in file.read_text(errors="replace").splitlines():
            words = line.split()
            if words[:1] == ["BEGIN-VENDOR"]:
                vendor = words[1]
            elif words[:1] == ["END-VENDOR"]:
                vendor = ""
            elif words[:1] == ["VENDOR"]:
                vendors[int(words[2])] = (words[1], words[3:4] in ([], ["format=1,1"]))
            elif words[:1] == ["ATTRIBUTE"]:
                theirs[vendor, words[1]] = (words[2], words[3].partition("[")[0])

    differing = set()
    for code, attribute in packaged().attributes.items():
        vendor = packaged().vendors[code[1]] if len(code) == 3 else ""
        said = theirs.get((vendor, attribute.name))
        if said != (str(code[-1]), attribute.type):
            differing.add((attribute.name, said))
    # CoovaChilli's own dictionary has the view point. The policy rules (RFC 5580 section 4.5) and the tunnel's name (RFC 6519) are octets.
    assert differing == {
        ("ChilliSpot-Acct-View-Point", None),
        ("DS-Lite-Tunnel-Name", ("144", "string")),
        ("Extended-Location-Policy-Rules", ("130", "string")),
    }
    ours = {number: (name, number not in packaged().odd_vendors) for number, name in packaged().vendors.items()}
    assert {number: vendors.get(number) for number in ours} == ours
