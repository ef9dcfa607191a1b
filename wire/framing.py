"""Several byte strings as one: each after its length, in four bytes, most significant first."""

import struct

_LENGTH = struct.Struct(">I")


class Malformed(ValueError):
    """Bytes that are not what ``join`` makes."""


def join(*fields: bytes) -> bytes:
    """One byte string of several."""
    parts = []
    for field in fields:
        parts += [_LENGTH.pack(len(field)), field]
    return b"".join(parts)


def split(data: bytes, most: int) -> list[bytes]:
    """The byte strings that were joined, ``most`` of them at most. Raises Malformed."""
    fields: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + _LENGTH.size
        if start > len(data) or len(fields) == most:
            raise Malformed(f"not up to {most} fields with their lengths")
        (length,) = _LENGTH.unpack_from(data, position)
        position = start + length
        if position > len(data):
            raise Malformed("a field that ends after the data")
        fields.append(data[start:position])
    return fields


def split_exactly(data: bytes, count: int) -> list[bytes]:
    """As ``split``, for exactly ``count`` fields. Raises Malformed."""
    fields = split(data, count)
    if len(fields) != count:
        raise Malformed(f"{len(fields)} fields, not {count}")
    return fields
