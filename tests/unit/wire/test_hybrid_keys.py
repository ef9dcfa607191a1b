"""HPKE with the hybrid KEM: opens for the right key and place, and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.wire.hybrid_keys import (
    PRIVATE_KEY_BYTES,
    PUBLIC_KEY_BYTES,
    HybridPrivateKey,
    HybridPublicKey,
)

KEY = HybridPrivateKey.generate()


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_a_key_that_was_stored_opens_what_was_sealed(plaintext, info):
    sealed = HybridPublicKey(KEY.public_key).seal(plaintext, info)
    assert HybridPrivateKey(KEY.to_bytes()).open(sealed, info) == plaintext


def test_a_key_has_the_sizes_of_its_two_halves():
    assert len(KEY.public_key) == PUBLIC_KEY_BYTES == 1216
    assert len(KEY.to_bytes()) == PRIVATE_KEY_BYTES == 96
    assert HybridPrivateKey.generate().to_bytes() != KEY.to_bytes()


def test_nothing_opens_with_other_info_or_another_key():
    sealed = HybridPublicKey(KEY.public_key).seal(b"share", b"place")
    with pytest.raises(ValueError, match="not sealed for this key and place"):
        KEY.open(sealed, b"another place")
    with pytest.raises(ValueError, match="not sealed for this key and place"):
        HybridPrivateKey.generate().open(sealed, b"place")


@given(st.integers(0, 5000), st.data())
def test_bytes_that_were_not_sealed_do_not_open(size, data):
    sealed = data.draw(st.binary(min_size=size, max_size=size)) if size < 100 else bytes(size)
    with pytest.raises(ValueError, match="not sealed for this key and place"):
        KEY.open(sealed, b"place")


def test_each_changed_byte_is_noticed():
    sealed = HybridPublicKey(KEY.public_key).seal(b"share", b"place")
    for place in (0, 500, 1087, 1088, 1119, 1120, len(sealed) - 1):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(ValueError, match="not sealed"):
            KEY.open(bytes(changed), b"place")


@pytest.mark.parametrize("size", [0, 32, PUBLIC_KEY_BYTES - 1, PUBLIC_KEY_BYTES + 1])
def test_a_public_key_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match=f"{size} bytes, not 1216"):
        HybridPublicKey(bytes(size))


@pytest.mark.parametrize("size", [0, 64, PRIVATE_KEY_BYTES + 1])
def test_a_private_key_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match=f"{size} bytes, not 96"):
        HybridPrivateKey(bytes(size))


def test_nothing_is_sealed_to_a_point_of_small_order():
    """X25519 would give the same secret for everybody (RFC 7748, section 6.1)."""
    with pytest.raises(ValueError):  # noqa: PT011  # the library's words
        HybridPublicKey(KEY.public_key[:-32] + bytes(32)).seal(b"share", b"place")
