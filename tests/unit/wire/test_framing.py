"""Byte strings joined to one come apart as they were, and nothing else does."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.wire.delivery import (
    decode_abort,
    decode_hand_in,
    decode_messages,
    encode_abort,
    encode_hand_in,
    encode_messages,
)
from custody.wire.framing import Malformed, join, split, split_exactly
from custody.wire.signed_bytes import SignedBytes

TICKET = SignedBytes(payload=b"{}", signature=bytes(64), signing_key_id="0123456789abcdef")


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_what_was_joined_comes_apart_as_it_was(fields: list[bytes]):
    assert split(join(*fields), 8) == fields
    assert split_exactly(join(*fields), len(fields)) == fields


@given(st.binary(max_size=60))
def test_whatever_comes_apart_is_what_join_makes_of_it(data: bytes):
    """So there are no two byte strings for the same fields."""
    try:
        fields = split(data, 8)
    except Malformed:
        return
    assert join(*fields) == data


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=4), st.data())
def test_a_part_of_it_does_not_come_apart(fields: list[bytes], data: st.DataObject):
    whole = join(*fields)
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    with contextlib.suppress(Malformed):
        assert len(split(cut, 8)) < len(fields)


def test_more_fields_than_there_may_be_are_refused():
    with pytest.raises(Malformed, match="more than 2 fields"):
        split(join(b"", b"", b""), 2)
    with pytest.raises(Malformed, match="1 fields, not 2"):
        split_exactly(join(b""), 2)


def test_a_length_beyond_the_end_is_refused():
    with pytest.raises(Malformed, match="goes beyond the data"):
        split(b"\xff\xff\xff\xffabc", 2)


def test_a_hand_in_has_a_ticket_or_none_and_messages_by_name():
    messages = {"signer-2": b"\x00\x01", "signer-3": b""}
    assert decode_hand_in(encode_hand_in(TICKET, messages)) == (TICKET, messages)
    assert decode_hand_in(encode_hand_in(None, messages)) == (None, messages)
    assert decode_messages(encode_messages(messages)) == messages


def test_two_messages_for_one_name_are_refused():
    body = encode_messages({"signer-2": b"a"}) + encode_messages({"signer-2": b"b"})
    with pytest.raises(Malformed, match="two messages"):
        decode_messages(body)


def test_a_name_without_a_message_is_refused():
    with pytest.raises(Malformed, match="without a message"):
        decode_messages(join(b"signer-2"))


def test_an_abort_has_a_ticket_and_a_reason():
    assert decode_abort(encode_abort(TICKET, b"sealed")) == (TICKET, b"sealed")


@pytest.mark.parametrize("body", [join(b"", b"sealed"), encode_abort(TICKET, bytes(257))])
def test_an_abort_without_a_ticket_or_with_too_long_a_reason_is_refused(body: bytes):
    with pytest.raises(Malformed, match="a ticket and a reason of at most 256 bytes"):
        decode_abort(body)
