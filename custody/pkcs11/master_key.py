"""The AES keys that never leave the HSM: one that wraps keys, one for host signing.

Both carry the same version in CKA_ID (4 bytes, big-endian) and the configured label, the second
with ``-host`` behind it. Runs in worker processes only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from custody.pkcs11.login import CannotStart
from custody.pkcs11.messages import KeyProof, MasterKeyRecord, Obstacle, RestoredKey, Stranger
from custody.pkcs11.session_errors import SessionLost, raise_unless_refusal
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass, Session
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import DecryptMixin, EncryptMixin, Object, SecretKey, UnwrapMixin, WrapMixin

HOST_SUFFIX = "-host"
KEY_BITS = 256
VERSION_SIZE = 4
MAX_VERSION = 2_000_000
"""Highest version. A key with a higher one cannot make master-key generate run out of numbers."""
GCM_TAG_BITS = 128


class WrappingKey(SecretKey, WrapMixin, UnwrapMixin):
    """An AES key with CKA_WRAP and CKA_UNWRAP, as python-pkcs11 returns it."""


class EncryptingKey(SecretKey, EncryptMixin, DecryptMixin):
    """An AES key with CKA_ENCRYPT and CKA_DECRYPT, as python-pkcs11 returns it."""


@dataclass(frozen=True)
class MasterKey:
    """One AES key on the token, named ``label/version``."""

    label: str
    version: int
    key: Any  # WrappingKey, or EncryptingKey where is_host
    is_host: bool

    @property
    def name(self) -> str:
        return f"{self.label}/{self.version}"


@dataclass(frozen=True)
class FoundKeys:
    """The AES keys under our labels. ``masters``: those that can be ours, oldest first.

    Several may have one name. ``strangers``: those that cannot be ours.
    """

    masters: list[MasterKey]
    strangers: list[Stranger]


def find_master_keys(session: Session, label: str) -> FoundKeys:
    """Return the token's keys under our labels. Anybody with the PIN can put one there."""
    found = FoundKeys([], [])
    for key_label, is_host in ((label, False), (label + HOST_SUFFIX, True)):
        template = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: key_label}
        for key in list(session.get_objects(template)):
            if not isinstance(key, SecretKey):
                raise SessionLost(f"the token does not say what its key {key_label!r} is")
            _sort_in(found, MasterKey(key_label, 0, key, is_host), _key_id(key))
    found.masters.sort(key=lambda key: (key.is_host, key.version))
    return found


def _sort_in(found: FoundKeys, key: MasterKey, key_id: bytes) -> None:
    version = int.from_bytes(key_id)
    if not _usable(key.key, key.is_host):
        uses = "encrypt and decrypt" if key.is_host else "wrap and unwrap"
        why = f"the key is not allowed to {uses}"
    elif len(key_id) != VERSION_SIZE:
        why = f"CKA_ID has {len(key_id)} bytes, and a version has {VERSION_SIZE}"
    elif not 0 < version <= MAX_VERSION:
        why = f"CKA_ID is {version}, and a version is at most {MAX_VERSION}"
    else:
        found.masters.append(replace(key, version=version))
        return
    name = f"{key.label} (CKA_ID {key_id.hex() or 'empty'})"
    found.strangers.append(Stranger(name=name, why=why))


def _key_id(key: Object) -> bytes:
    try:
        return bytes(key[Attribute.ID])
    except PKCS11Error as error:
        raise_unless_refusal(error)
        return b""


def _usable(key: Object, is_host: bool) -> bool:
    if is_host:
        return isinstance(key, EncryptMixin) and isinstance(key, DecryptMixin)
    return isinstance(key, WrapMixin) and isinstance(key, UnwrapMixin)


def newest(keys: list[MasterKey], is_host: bool) -> MasterKey | None:
    """Return the master key that wraps new keys."""
    candidates = [key for key in keys if key.is_host is is_host]
    return max(candidates, key=lambda key: key.version, default=None)


def must_be_made_inside(
    master: MasterKey, values: Iterable[bytes], restored: Iterable[RestoredKey]
) -> RestoredKey | None:
    """Raise CannotStart for an imported key, unless the configuration names one of ``values``.

    Return what the configuration says of an imported key; None for a key that was made inside.

    CKA_LOCAL is the token's own statement that the key was made inside (PKCS#11 3.1, section 4.9).
    Without this, a holder of the PIN could add a version of his own, and read every key made from
    then on. A key that came from the HSM's backup has no such statement. ``values`` prove that it
    is the same key: each follows from the key itself, or is the hash of a proof that the key has
    opened. No check value that the database merely states is among them: a holder of the PIN who
    writes to the database could insert any.
    """
    if _flag(master.key, Attribute.LOCAL, otherwise=False):
        return None
    pinned = {key.check_value: key for key in restored}
    tried = []
    adopted = None
    for value in values:
        tried.append(f"{value.hex()[:16]}…")
        if (adopted := pinned.get(value)) is not None:
            break
    if adopted is None:
        raise CannotStart(
            Obstacle.MASTER_KEY,
            f"the key {master.name!r} (check value {' or '.join(tried)}) was not made inside this "
            "HSM, and restored_check_values in the configuration does not name it: somebody may "
            "know the key's value",
            "If this is the first token of the configuration, and was restored from the backup of "
            "its master key: master-key adopt --restored prints the line for the configuration. "
            "If this is another token, to which the key was cloned: see 'Clones that look "
            "imported' in docs/how-to/several-tokens.md. If neither, find out who put the key "
            "there, and delete it.",
        )
    record = describe(master, None)
    if weaknesses := weaknesses_of_restored(record, adopted.extractable):
        raise CannotStart(
            Obstacle.MASTER_KEY,
            f"the restored key {master.name!r} is {', '.join(weaknesses)}",
            "Restore the key again by the HSM vendor's mechanism, which keeps its attributes.",
        )
    return adopted


def weaknesses_of_restored(record: MasterKeyRecord, extractable: bool) -> list[str]:
    """Return why a restored key is weaker than every key that master-key generate makes."""
    flags = (
        (not record.sensitive, "not sensitive"),
        (record.extractable and not extractable, "extractable"),
        (record.modifiable, "modifiable"),
        (record.copyable is True, "copyable"),
    )
    return [words for is_weak, words in flags if is_weak]


def passing_wrapping_key(session: Session) -> WrappingKey:
    """Make a session key that wraps without rules, to probe the token."""
    key: Any = session.generate_key(
        KeyType.AES,
        KEY_BITS,
        store=False,
        capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
        template={Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    )
    passing: WrappingKey = key
    return passing


def describe(
    master: MasterKey,
    check_value: bytes | None,
    pins: Sequence[bytes] = (),
    new_proof: KeyProof | None = None,
    adopted: bool | None = None,
) -> MasterKeyRecord:
    """Return the facts about a master key that an operator sees."""
    return MasterKeyRecord(
        name=master.name,
        label=master.label,
        version=master.version,
        check_value=check_value,
        pins=list(pins),
        new_proof=new_proof,
        adopted=adopted,
        purpose="encrypts host keys" if master.is_host else "wraps keys",
        made_inside=_flag(master.key, Attribute.LOCAL, otherwise=False),
        sensitive=_flag(master.key, Attribute.SENSITIVE, otherwise=False),
        extractable=_flag(master.key, Attribute.EXTRACTABLE, otherwise=True),
        modifiable=_flag(master.key, Attribute.MODIFIABLE, otherwise=True),
        copyable=_copyable(master.key),
    )


def _copyable(key: Object) -> bool | None:
    try:
        return bool(key[Attribute.COPYABLE])
    except PKCS11Error as error:
        raise_unless_refusal(error)
        return None


def _flag(key: Object, attribute: Attribute, otherwise: bool) -> bool:
    """Return an attribute, or ``otherwise`` for a token that does not know the attribute."""
    try:
        return bool(key[attribute])
    except PKCS11Error as error:
        raise_unless_refusal(error)
        return otherwise
