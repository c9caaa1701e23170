"""Where keys and values stand in a TOML file: what every finding's line and column rest on."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Problem
from schemas.toml_source import Path, Source, parse

DOCUMENT = '''\
# a comment with [brackets] and = signs
top = 1
kafka.partitions = 8 # "quoted" comment
"quoted key".'inner.key' = true

[ingest]
listen = [
  "127.0.0.1:1813", # [not] a table
  "[::1]:1813",
]
text = """
[[nas]]
name = "not a table\\""""""
raw = \'\'\'\\ ]} \'\'\'\'
date = 1979-05-27 07:32:00Z
[[nas]]
name = "a"
disconnect = { address = "192.0.2.1", deep.er = [ { x = 1 }, {x=2} ], port = 70000 }
[[ nas ]]
name = "b"
[nas.disconnect]
port = 1
[[nas.disconnect.more]]
a = 1
[[nas.disconnect.more]]
a = [[1], [2, 3]]
[ "identity" ]
strip_realms = []
'''


def place(source: Source, path: Path, *, of_key: bool = False) -> tuple[int, int]:
    problem = (source.key_problem if of_key else source.value_problem)(path, "", "")
    return problem.line, problem.column


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("top",), (2, 1), (2, 7)),
        (("kafka",), (3, 1), (3, 1)),
        (("kafka", "partitions"), (3, 7), (3, 20)),
        (("quoted key", "inner.key"), (4, 14), (4, 28)),
        (("ingest",), (6, 1), (6, 1)),
        (("ingest", "listen"), (7, 1), (7, 10)),
        (("ingest", "listen", 1), (9, 3), (9, 3)),
        (("ingest", "text"), (11, 1), (11, 8)),
        (("ingest", "raw"), (14, 1), (14, 7)),
        (("ingest", "date"), (15, 1), (15, 8)),
        (("nas", 0), (16, 1), (16, 1)),
        (("nas", 0, "disconnect"), (18, 1), (18, 14)),
        (("nas", 0, "disconnect", "address"), (18, 16), (18, 26)),
        (("nas", 0, "disconnect", "deep", "er", 1, "x"), (18, 63), (18, 65)),
        (("nas", 0, "disconnect", "port"), (18, 71), (18, 78)),
        (("nas", 1), (19, 1), (19, 1)),
        (("nas", 1, "name"), (20, 1), (20, 8)),
        (("nas", 1, "disconnect"), (21, 1), (21, 1)),
        (("nas", 1, "disconnect", "port"), (22, 1), (22, 8)),
        (("nas", 1, "disconnect", "more", 1, "a", 1, 1), (26, 15), (26, 15)),
        (("identity", "strip_realms"), (28, 1), (28, 16)),
    ],
)
def test_a_key_and_its_value_are_found_where_they_stand(path, key, value):
    source = Source("f", DOCUMENT)

    assert place(source, path, of_key=True) == key or isinstance(path[-1], int)
    assert place(source, path) == value


def test_what_is_not_there_is_found_at_the_table_that_it_should_stand_in():
    source = Source("f", DOCUMENT)

    assert place(source, ("nas", 1, "secret")) == (19, 1)
    assert place(source, ("nas", 0, "disconnect", "secret")) == (18, 14)
    assert place(source, ("nas", 0, "disconnect", "secret"), of_key=True) == (18, 1)
    assert place(source, ("redis", "url")) == (1, 1)


def test_lines_count_alike_with_either_line_end():
    source = Source("f", DOCUMENT.replace("\n", "\r\n"))

    assert place(source, ("nas", 0, "disconnect", "port")) == (18, 78)
    assert place(source, ("identity", "strip_realms")) == (28, 16)


SCALARS = st.sampled_from(
    ["1", "-0.5", "true", '"a # ] } , \\" b"', "'\\'", '""""x"" y"""', "'''\n'a' ]'''", "1979-05-27 07:32:00", '""', "inf"]
)
KEYS = st.sampled_from(["a", "b-c", "1", '"q.\\" r"', "'s # ='"])
BLANKS = st.sampled_from(["", " ", "\t", "\n", " # ]}\n  "])


@st.composite
def values(draw, depth=2):
    kind = draw(st.sampled_from(["scalar", "list", "table"] if depth else ["scalar"]))
    if kind == "scalar":
        return draw(SCALARS)
    if kind == "list":
        members = [draw(BLANKS) + draw(values(depth - 1)) + draw(BLANKS) for _ in range(draw(st.integers(0, 3)))]
        return f"[{','.join(members)}{',' if members and draw(st.booleans()) else ''}{draw(BLANKS)}]"
    keys = draw(st.lists(KEYS, max_size=3, unique=True))
    return "{" + ", ".join(f"{key} = {draw(values(depth - 1))}" for key in keys) + "}"


@st.composite
def documents(draw):
    def body(depth):
        return "".join(f"{key} = {draw(values())}{draw(BLANKS)}\n" for key in draw(st.lists(KEYS, max_size=depth, unique=True)))

    tables = [draw(st.sampled_from(["[[x]]", "[[ x . y ]]", "[[z.'w']]"])) for _ in range(draw(st.integers(0, 4)))]
    return body(3) + "".join(f"{header} # here\n{body(2)}" for header in tables)


def paths(value, path=()):
    yield path, value
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from paths(member, (*path, key))


@given(documents())
def test_every_value_that_tomllib_reads_has_a_place_of_its_own_and_no_other_has(text):
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    source = Source("f", text)
    known = source._keys.keys() | source._values.keys() | {()}
    read = dict(paths(expected))

    assert set(read) == known
    for path in source._values:
        offset = source._values[path]
        if not isinstance(read[path], dict | list):
            assert any(
                [tomllib.loads(f"v = {text[offset:end]}")["v"]] == [read[path]]
                for end in range(offset + 1, len(text) + 1)
                if _is_toml(text[offset:end])
            )


def _is_toml(value: str) -> bool:
    try:
        return list(tomllib.loads(f"v = {value}")) == ["v"]
    except tomllib.TOMLDecodeError:
        return False


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "remedy"),
    [
        ("a = b", 1, 5, "not TOML: invalid value", 'Put text in quotes (key = "value"); numbers, true, false and [lists] go without.'),
        (
            "\n\na b",
            3,
            3,
            "not TOML: expected '=' after a key in a key/value pair",
            "Write `key = value`, or `[table]` on a line of its own.",
        ),
        ("a = 1\na = 2", 2, 6, "not TOML: cannot overwrite a value", "Write this key once; the one before holds already."),
        ("[a]\n[a]", 2, 3, "not TOML: cannot declare ('a',) twice", "Write this [table] once; several of one kind are each [[table]]."),
        ('a = 1\nb = "x', 2, 7, "not TOML: unterminated string", "Close the quotes."),
        ("a = [1 2]", 1, 8, "not TOML: unclosed array", "Put a comma between the elements and close the list with ]."),
        ("?", 1, 1, "not TOML: invalid statement", "Write `key = value` lines under `[table]` or `[[table]]` lines."),
    ],
)
def test_what_is_no_toml_is_told_with_its_place(text, line, column, message, remedy):
    assert parse(text, "f") == Problem("error", "f", line, column, message, remedy)


def test_nesting_without_end_is_refused_and_does_not_end_the_program():
    found = parse("a = " + "[" * 100_000, "f")

    assert isinstance(found, Problem)
    assert found.message == "lists or tables are nested too deeply"
