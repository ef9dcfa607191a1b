"""Bytes in JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from custody.wire.encoding import Base64Bytes, HexBytes, Model


class Carrier(Model):
    hex: HexBytes = b""
    base64: Base64Bytes = b""


@given(st.binary(max_size=100))
def test_bytes_come_back_as_they_went(data):
    carrier = Carrier(hex=data, base64=data)
    assert Carrier.model_validate_json(carrier.model_dump_json()) == carrier


def test_hex_is_written_with_0x_in_lower_case():
    assert Carrier(hex=b"\x00\xff").model_dump(mode="json")["hex"] == "0x00ff"


def test_hex_is_read_in_either_case():
    assert Carrier.model_validate_json('{"hex": "0xAbCd"}').hex == b"\xab\xcd"


@pytest.mark.parametrize("text", ["00", "0X00", "0x0", "0xzz", "0x 0", "x00", "0xé0", " 0x00"])
def test_what_is_not_hex_is_refused(text):
    with pytest.raises(ValidationError, match="0x-prefixed hex"):
        Carrier.model_validate({"hex": text})


@pytest.mark.parametrize("text", ["Q", "QQ", "Q Q=", "QQ==\n", "QQ==QQ==", "é", "-_-_"])
def test_what_is_not_base64_is_refused(text):
    with pytest.raises(ValidationError):
        Carrier.model_validate({"base64": text})


@pytest.mark.parametrize("value", ["1", "null", "true", "[]", "{}"])
def test_bytes_are_text_and_nothing_else(value):
    for field in ("hex", "base64"):
        with pytest.raises(ValidationError):
            Carrier.model_validate_json(f'{{"{field}": {value}}}')


def test_an_unknown_field_is_an_error():
    with pytest.raises(ValidationError, match="Extra inputs"):
        Carrier.model_validate_json('{"hex": "0x", "hexx": "0x"}')


def test_models_do_not_change():
    carrier = Carrier()
    with pytest.raises(ValidationError, match="frozen"):
        carrier.hex = b"x"  # type: ignore[misc]
