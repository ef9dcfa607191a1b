"""Why bytes are not accepted as a private key."""

from enum import StrEnum

from custody.client.errors import CustodyError


class KeyFault(StrEnum):
    """Stable codes of BadPrivateKey."""

    BAD_FORMAT = "bad_format"
    """The data does not have the form that was named."""
    WRONG_SIZE = "wrong_size"
    """The private key does not have 32 bytes."""
    OUT_OF_RANGE = "out_of_range"
    """The number is 0, or not below the order of the curve."""
    BAD_CHECKSUM = "bad_checksum"
    """A character was changed or left out."""
    PUBLIC_KEY_MISMATCH = "public_key_mismatch"
    """The public key or address beside the private key is of another key."""
    UNSUPPORTED = "unsupported"
    """The data is understood, but this service has no such keys, or not in this form."""
    WRONG_NETWORK = "wrong_network"
    """The format says that the key is of other networks than the wallet's."""
    PASSWORD_NEEDED = "password_needed"  # noqa: S105  # a code
    PASSWORD_NOT_NEEDED = "password_not_needed"  # noqa: S105  # a code
    """A password was given for data that is not encrypted."""
    WRONG_PASSWORD = "wrong_password"  # noqa: S105  # a code
    """The password is wrong, or the file is damaged."""
    TOO_COSTLY = "too_costly"
    """The file asks for more memory or time than a wallet's file needs."""


class BadPrivateKey(CustodyError):
    """The data is not a private key that can be imported.

    ``code`` is stable. ``reason`` says what is wrong, and has nothing of the private key.
    """

    def __init__(self, code: KeyFault, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
