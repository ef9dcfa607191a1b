"""The failures of the HSM's operations.

A failure has one form from the worker to the outcome of a job: the worker raises it in place of
PKCS#11's error, the socket carries its code and reason, the daemon raises it again, and the job
loop reports it as the outcome.
"""

from typing import NoReturn

from custody.node.errors import Denied, Failed
from custody.pkcs11.messages import Failure


class HsmFailure(Failed):
    """The operation failed. ``reason`` may be shown to applications, and has no secret."""

    code = "hsm_failure"
    transient = True

    def __init__(self, reason: str) -> None:
        super().__init__(type(self).code, reason, transient=type(self).transient)


class HsmTimeout(HsmFailure):
    """The operation passed its deadline while it was alone in its worker, which was killed."""

    code = "hsm_timeout"
    transient = True


class HsmUnavailable(HsmFailure):
    """No worker has a session on the token now."""

    code = "hsm_unavailable"
    transient = True


class HsmCrashed(HsmFailure):
    """The operation ended its worker each time it ran alone, and is not run again.

    An import runs once: a stranger chose its bytes.
    """

    code = "hsm_crashed"
    transient = False


class SchemeUnsupported(HsmFailure):
    """With these settings, the token cannot make or use keys of the algorithm."""

    code = "unsupported_algorithm"
    transient = False


class InvalidData(HsmFailure):
    """The data to sign does not have the size that the scheme signs."""

    code = "invalid_data"
    transient = False


class KeyUnusable(HsmFailure):
    """The wrapped key is damaged, or another master key wrapped it than the one it names."""

    code = "key_unusable"
    transient = False


class HsmMisconfigured(HsmFailure):
    """The token refuses a mechanism or an attribute, which ``reason`` names."""

    code = "hsm_misconfigured"
    transient = True


class DataRefused(HsmFailure):
    """The token signs or encrypts no data of this length."""

    code = "data_refused"
    transient = False


class MasterKeyMissing(KeyUnusable):
    """The worker has not found the master key of a stored key. Another driver may have it."""

    code = "master_key_missing"
    transient = False


class ImportKeyMissing(HsmFailure):
    """An import key is not on the token. The token of another driver may have it."""

    code = "import_key_missing"
    transient = False


class BadImport(HsmFailure):
    """What an application has encrypted to an import key is not the key that it announced."""

    code = "bad_import"
    transient = False


class KeyNotWrappable(HsmFailure):
    """The token lets a key out under no other key, or no new key, even wrapped by the master key.

    A locked master key lets none of its keys out under another master key (docs/adr/0040).
    """

    code = "key_not_wrappable"
    transient = False


class CurveNotSupported(HsmFailure):
    """The token does not do the curve of the key."""

    code = "curve_not_supported"
    transient = False


class TooLate(Denied):
    """The request expired before the worker began the operation. Nothing was made."""

    code = "expired"

    def __init__(self) -> None:
        super().__init__(type(self).code, "the request expired before the HSM began with it")


BY_CODE: dict[str, type[HsmFailure]] = {
    kind.code: kind
    for kind in (
        HsmFailure,
        HsmTimeout,
        HsmUnavailable,
        HsmCrashed,
        SchemeUnsupported,
        HsmMisconfigured,
        InvalidData,
        DataRefused,
        KeyUnusable,
        MasterKeyMissing,
        ImportKeyMissing,
        BadImport,
        KeyNotWrappable,
        CurveNotSupported,
    )
}
"""The class of each failure that a worker can send."""


def message_of(failure: HsmFailure | TooLate) -> Failure:
    """Return the message in which a worker sends a failure."""
    return Failure(code=failure.code, reason=failure.reason)


def raise_failure(message: Failure) -> NoReturn:
    """Raise the failure that a worker sent. Raises HsmFailure or TooLate."""
    if message.code == TooLate.code:
        raise TooLate
    raise BY_CODE.get(message.code, HsmFailure)(message.reason)
