"""What every refusal of a private key has, and what it must not show."""

from collections.abc import Iterator

import pytest

from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.formats import KeyFormat, read_private_key
from custody.wire.algorithms import Curve

LONGEST_REPEATED = 12
"""Characters of the data that a reason may have by chance."""


def refused(
    data: bytes | str,
    form: KeyFormat,
    code: KeyFault,
    words: str = "",
    *,
    curve: Curve | None = None,
    password: str | None = None,
    public_key: bytes | None = None,
) -> BadPrivateKey:
    """The error with which data is refused; its reason has these words and nothing of the data."""
    with pytest.raises(BadPrivateKey) as caught:
        read_private_key(data, form, curve=curve, password=password, public_key=public_key)
    error = caught.value
    assert (error.code, str(error)) == (code, f"{code}: {error.reason}")
    assert words in error.reason
    shows_nothing(error, data, password)
    return error


def shows_nothing(error: BadPrivateKey, data: bytes | str, password: str | None) -> None:
    """No text of the error repeats the data or the password, and no other error hangs on it."""
    assert error.__context__ is None
    assert error.__cause__ is None
    text = f"{error!r} {error} {error.args} {vars(error)}"
    for part in _parts(data):
        assert part not in text
    if password:
        assert password not in text


def _parts(data: bytes | str) -> Iterator[str]:
    """Each stretch of the data, as text and as hex."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    for text in (raw.decode("latin-1"), raw.hex()):
        for start in range(len(text) - LONGEST_REPEATED):
            part = text[start : start + LONGEST_REPEATED]
            if any(each.isdigit() for each in part):
                yield part
