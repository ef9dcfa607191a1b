"""Proof that keys on a token, which were not made inside it, are as strong as a token's own.

An HSM that was restored from its vendor's backup shows its keys with CKA_LOCAL=false. The check
value proves which key it is. The attributes are those of the restored object, so they are tried.
"""

from collections.abc import Collection, Iterable

from custody.pkcs11.administration import Administration
from custody.pkcs11.extraction_attempts import ATTEMPTS, Attempt
from custody.pkcs11.master_key import HOST_SUFFIX, weaknesses_of_restored
from custody.pkcs11.messages import MasterKeyRecord
from custody.runtime.checks import Status
from custody.runtime.errors import OperatorError

_AGAIN = (
    "Restore the key again by the HSM vendor's mechanism, which keeps its attributes. Read "
    "docs/explanation/threat-model.md, 'The master key'."
)


async def imported_keys(token: Administration, only_encrypting: bool) -> list[MasterKeyRecord]:
    """Return the keys in use that were not made inside this token."""
    return [
        key
        for key in await token.master_keys()
        if not key.made_inside and (key.purpose == "encrypts host keys" or not only_encrypting)
    ]


def require_expected(
    keys: Collection[MasterKeyRecord], known: Collection[bytes], noted: Collection[bytes]
) -> None:
    """Raise OperatorError for an imported key that is not one of the lost HSM's keys.

    ``known``: the check values in the database. ``noted``: check values that the operator wrote
    down when the keys were made. They decide if the database knows none, because it is new.
    """
    imported = {key.check_value for key in keys}
    for value in noted:
        if value not in imported:
            raise OperatorError(
                f"no imported key in this HSM has the check value {short(value)}, which was given",
                "Compare with: master-key list --json. Restore the right backup into this HSM.",
            )
    for key in keys:
        if key.check_value not in (known or noted):
            raise _unknown_key(key, known) if known else _nothing_to_compare(key, noted)


def _unknown_key(key: MasterKeyRecord, known: Iterable[bytes]) -> OperatorError:
    return OperatorError(
        f"{key.name} (check value {short(key.check_value)}) was not made inside this HSM, and is "
        "not a key that this database knows: the check values that it knows are "
        f"{', '.join(map(short, known))}",
        "Restore the right backup into this HSM, or point the configuration at the right HSM. If "
        "nobody restored this key, find out who put it there, and delete it.",
    )


def _nothing_to_compare(key: MasterKeyRecord, noted: Iterable[bytes]) -> OperatorError:
    values = ", ".join(map(short, noted)) or "none"
    return OperatorError(
        f"{key.name} (check value {short(key.check_value)}) was not made inside this HSM, and this "
        f"database is new: it knows no check value. Given with --check-value: {values}",
        "If the database has a backup, restore it first: backup restore. If it has none, repeat "
        "this command with --check-value for each imported key, as you noted it when the key was "
        "made: docs/how-to/recover/hsm-and-database-lost.md.",
    )


async def require_strong(
    token: Administration,
    keys: Iterable[MasterKeyRecord],
    *,
    stored_keys: bool,
    rewrappable: bool,
    extractable: bool,
) -> None:
    """Try every extraction on the keys' versions. Raise OperatorError if one succeeds.

    ``stored_keys``: also try those on the keys that a master key wraps. ``rewrappable`` and
    ``extractable``: the options with which the keys were generated, and so what may succeed.
    """
    keys = list(keys)
    await _require_pairs(token, keys)
    for key in keys:
        if weaknesses := weaknesses_of_restored(key, extractable):
            raise OperatorError(
                f"{key.name} is not as it was generated: it is {', '.join(weaknesses)}", _AGAIN
            )
    allowed = _allowed(rewrappable, extractable)
    versions = {key.version for key in keys}
    for attempt in ATTEMPTS:
        if attempt.name in allowed or not (stored_keys or attempt.of_master_key):
            continue
        outcome = await token.extract(attempt.name)
        for name in outcome.untried:
            if _version(name) in versions:
                raise OperatorError(
                    f"{name} wraps no key that it can unwrap again, so it is not as it was "
                    f"generated ({'; '.join(outcome.refusals)})",
                    _AGAIN,
                )
        open_ones = [name for name in outcome.succeeded if _version(name) in versions]
        if open_ones:
            raise OperatorError(
                f"{', '.join(open_ones)} is not as it was generated: {attempt.meaning} "
                f"({outcome.succeeded[open_ones[0]]})",
                _todo(attempt),
            )


async def _require_pairs(token: Administration, keys: Iterable[MasterKeyRecord]) -> None:
    """Raise OperatorError if a key lacks the wrapping key of its version: attempts start there."""
    names = {key.name for key in await token.master_keys()}
    for key in keys:
        wrapping = f"{key.label.removesuffix(HOST_SUFFIX)}/{key.version}"
        if wrapping not in names:
            raise OperatorError(
                f"the token has {key.name}, but not {wrapping}, which was made together with it",
                "Restore both keys from the HSM's backup.",
            )


def _allowed(rewrappable: bool, extractable: bool) -> set[str]:
    return ({"unwrap-extractable"} if rewrappable else set()) | (
        {"wrap-master-key"} if extractable else set()
    )


def _todo(attempt: Attempt) -> str:
    if attempt.status is Status.FAIL:
        return _AGAIN
    option = "--extractable" if attempt.name == "wrap-master-key" else "--rewrappable"
    return f"If the key was generated with {option}, repeat the command with {option}. {_AGAIN}"


def _version(name: str) -> int:
    return int(name.rpartition("/")[2])


def short(check_value: bytes | None) -> str:
    """Return the beginning of a check value, for people. None: the token does not compute it."""
    if check_value is None:
        return "unknown"
    return f"{check_value.hex()[:16]}…"
