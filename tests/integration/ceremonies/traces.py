"""Finds a value in recorded bytes, whatever encoding it was written in."""

import base64
from collections.abc import Iterator, Mapping

SHORTEST = 8
"""Bytes of a value: a shorter one would turn up in ciphertext by chance."""


def found(recorded: bytes, values: Mapping[str, bytes]) -> set[str]:
    """The names of the values that are in the recorded bytes, each with the encoding."""
    return {
        f"{name}, {encoding}"
        for name, value in values.items()
        for encoding, needle in encodings(value)
        if needle in recorded
    }


def encodings(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Every form in which a value is looked for, with the form's name."""
    assert len(value) >= SHORTEST, value
    for order, ordered in (("", value), ("reversed ", value[::-1])):
        yield f"{order}raw", ordered
        yield f"{order}hex", ordered.hex().encode()
        yield f"{order}upper-case hex", ordered.hex().upper().encode()
        yield f"{order}decimal", str(int.from_bytes(ordered)).encode()
        if len(value) == 16:
            for name, text in (("", dashed(ordered)), ("upper-case ", dashed(ordered).upper())):
                yield f"{order}{name}UUID", text.encode()
        for offset in range(3):
            core = _base64_core(ordered, offset)
            yield f"{order}base64 at {offset}", core
            yield f"{order}base64url at {offset}", core.translate(bytes.maketrans(b"+/", b"-_"))


def dashed(value: bytes) -> str:
    """16 bytes as a UUID's text; of any version."""
    digits = value.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _base64_core(value: bytes, offset: int) -> bytes:
    """The characters that depend on the value alone, after ``offset`` other bytes of a group."""
    encoded = base64.b64encode(bytes(offset) + value)
    return encoded[-(-offset * 8 // 6) : (offset + len(value)) * 8 // 6]
