"""What the walk over the table of endings saw."""

from typing import NamedTuple

from custody.pkcs11.return_codes import NAME_OF

VENDOR = 0x80000171
UNKNOWN = 0x7FFFFFF0
CODES = (*NAME_OF, VENDOR, UNKNOWN)


class Seen(NamedTuple):
    """``once``: only the first call failed. ``what``: kind of the answer, ``detail``: its code."""

    step: str
    function: str
    code: int
    once: bool
    what: str
    detail: str
    reason: str
    ends: bool
