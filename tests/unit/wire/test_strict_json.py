"""JSON that not everybody reads alike is refused, by one function for every border."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.wire.strict_json import MAX_DEPTH, NotJson, NotStrictJson, parse_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)

AMBIGUOUS = [
    b'{"message": "1 coin", "message": "100 coins"}',
    b'{"a": {"b": 1, "b": 2}}',
    b'[{"b": 1, "\\u0062": 2}]',
    b'{"a": NaN}',
    b"[Infinity]",
    b"-Infinity",
    b"1e999",
    b'{"a": "\\ud800"}',
    b'{"\\udc00\\ud800": 1}',
    b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    b'{"a":' * 40 + b"1" + b"}" * 40,
    b"[" * 100_000 + b"]" * 100_000,
    b"1" * 5000,
]


@given(VALUES)
def test_what_has_one_meaning_is_read(value):
    for ascii_only in (True, False):
        assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


def test_a_whole_surrogate_pair_and_the_deepest_nesting_are_read():
    assert parse_json(b'"\\ud83d\\ude00"') == "😀"
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None


@pytest.mark.parametrize("content", AMBIGUOUS, ids=lambda content: content[:20].decode())
def test_what_has_more_than_one_meaning_is_not(content):
    with pytest.raises(NotStrictJson) as refused:
        parse_json(content)
    assert not isinstance(refused.value, NotJson)
    assert "coin" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"nul", b"{'a': 1}", b"{} {}", b"\xff\xfe", b"\xef\xbb\xbf{}", b'"\xed\xa0\x80"'],
)
def test_what_is_no_json_is_said_to_be_none(content):
    with pytest.raises(NotJson):
        parse_json(content)
