"""A key in a file: how it wraps, and how it is told from another."""

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from custody.node.errors import Failed
from mpc.shares.encryption_key import FileKey


async def test_a_data_key_is_wrapped_as_rfc_5649_has_it():
    key = FileKey(b"k" * 32, "name")
    assert await key.wrap(b"d" * 32) == aes_key_wrap_with_padding(b"k" * 32, b"d" * 32)
    assert await key.unwrap(await key.wrap(b"d" * 32)) == b"d" * 32


async def test_another_key_does_not_unwrap_it():
    wrapped = await FileKey(b"k" * 32, "name").wrap(b"d" * 32)
    with pytest.raises(Failed) as error:
        await FileKey(b"j" * 32, "name").unwrap(wrapped)
    assert error.value.code == "share_unusable"


@pytest.mark.parametrize("wrapped", [b"", b"\x00" * 40, b"short"])
async def test_what_was_not_wrapped_is_not_unwrapped(wrapped: bytes):
    with pytest.raises(Failed):
        await FileKey(b"k" * 32, "name").unwrap(wrapped)


def test_the_same_key_has_the_same_id_wherever_it_is():
    assert FileKey(b"k" * 32, "here").id == FileKey(b"k" * 32, "there").id
    assert FileKey(b"k" * 32, "here").id != FileKey(b"j" * 32, "here").id


def test_neither_its_text_nor_its_id_has_the_key_in_it():
    key = FileKey(b"k" * 32, "name")
    for text in (repr(key), str(key), key.id, key.check_value.hex()):
        assert "kkkk" not in text
        assert b"k".hex() * 4 not in text
