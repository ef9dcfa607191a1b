"""What can go wrong between asking the HSM and its answer."""


class HsmFailure(Exception):
    """An operation has no result. ``reason`` may be shown to applications; it has no secret."""

    code = "hsm_failure"
    transient = True

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HsmTimeout(HsmFailure):
    """The operation passed its deadline, alone in its worker, which was killed."""

    code = "hsm_timeout"
    transient = True


class HsmUnavailable(HsmFailure):
    """No worker has a session on the token at present."""

    code = "hsm_unavailable"
    transient = True


class HsmCrashed(HsmFailure):
    """The operation ended its worker each time it ran alone: it is not run again."""

    code = "hsm_crashed"
    transient = False


class SchemeUnsupported(HsmFailure):
    """This token, with these settings, makes and uses no keys of the algorithm."""

    code = "unsupported_algorithm"
    transient = False


class InvalidData(HsmFailure):
    """What is to be signed does not have the size that the scheme signs."""

    code = "invalid_data"
    transient = False


class TooLate(HsmFailure):
    """The operation was not begun, since its time was over: nothing was made."""

    code = "too_late"
    transient = False


class KeyUnusable(HsmFailure):
    """The wrapped key is damaged, or of another master key than the one that it names."""

    code = "key_unusable"
    transient = False


BY_CODE: dict[str, type[HsmFailure]] = {
    kind.code: kind
    for kind in (
        HsmFailure,
        HsmTimeout,
        HsmUnavailable,
        HsmCrashed,
        SchemeUnsupported,
        InvalidData,
        TooLate,
        KeyUnusable,
    )
}
"""How a failure that a worker reports becomes an exception again."""
