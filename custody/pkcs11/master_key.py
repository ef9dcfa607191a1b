"""The AES keys that never leave the HSM: one that wraps keys, one for host signing.

Both carry the same version in CKA_ID (4 bytes, big-endian) and the configured label, the second
with ``-host`` behind it. Runs in worker processes only.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from custody.pkcs11.login import CannotStart, name_of
from custody.pkcs11.messages import MasterKeyRecord, Obstacle, RestoredKey
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, MechanismFlag, ObjectClass, Session
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import DecryptMixin, EncryptMixin, Object, SecretKey, UnwrapMixin, WrapMixin

HOST_SUFFIX = "-host"
KEY_BITS = 256
VERSION_SIZE = 4
CHECK_VALUE_SEED = b"custody master key check value, version 1"
CHECK_MECHANISMS = (
    Mechanism.AES_KEY_WRAP,
    Mechanism.AES_KEY_WRAP_KWP,
    Mechanism.AES_KEY_WRAP_PAD,
)
# Host keys are encrypted under random nonces of 96 bits; this fixed one meets only this plaintext.
CHECK_NONCE = hashlib.sha256(CHECK_VALUE_SEED + b", nonce").digest()[:12]
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


def find_master_keys(session: Session, label: str) -> list[MasterKey]:
    """Our keys on the token, oldest first. Raises CannotStart where two have the same name."""
    found: list[MasterKey] = []
    for key_label, is_host in ((label, False), (label + HOST_SUFFIX, True)):
        template = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: key_label}
        for key in list(session.get_objects(template)):
            if _usable(key, is_host):
                version = int.from_bytes(key[Attribute.ID])
                found.append(MasterKey(key_label, version, key, is_host))
    names = [key.name for key in found]
    for name in names:
        if names.count(name) > 1:
            raise CannotStart(
                Obstacle.MASTER_KEY,
                f"the token has several keys {name!r}",
                "Which one is meant must never be a guess: move one away with the vendor's tool.",
            )
    return sorted(found, key=lambda key: (key.is_host, key.version))


def _usable(key: Object, is_host: bool) -> bool:
    if is_host:
        return isinstance(key, EncryptMixin) and isinstance(key, DecryptMixin)
    return isinstance(key, WrapMixin) and isinstance(key, UnwrapMixin)


def newest(keys: list[MasterKey], is_host: bool) -> MasterKey | None:
    """Return the master key that wraps new keys."""
    candidates = [key for key in keys if key.is_host is is_host]
    return max(candidates, key=lambda key: key.version, default=None)


def must_be_made_inside(
    session: Session, master: MasterKey, restored: Iterable[RestoredKey]
) -> None:
    """Raise CannotStart for an imported key, unless its check value is that of a restored key.

    CKA_LOCAL is the token's own statement that the key was made inside (PKCS#11 3.1, section 4.9).
    Without this, a holder of the PIN could add a version of his own, and read every key made from
    then on. A key that came from the HSM's backup has no such statement. Its check value proves
    that it is the same key. The configuration file names this check value. The database does not
    count here: a holder of the PIN who writes to the database could insert any check value.
    """
    if _flag(master.key, Attribute.LOCAL, otherwise=False):
        return
    proof = check_value(session, master)
    adopted = next((key for key in restored if key.check_value == proof), None)
    if adopted is None:
        raise CannotStart(
            Obstacle.MASTER_KEY,
            f"the key {master.name!r} (check value {proof.hex()[:16]}…) was not made inside this "
            "HSM, and restored_check_values in the configuration does not name it: somebody may "
            "know the key's value",
            "If the HSM was restored from the backup of its master key: master-key adopt "
            "--restored prints the line for the configuration. If not, find out who put the key "
            "there, and delete it.",
        )
    record = describe(session, master)
    if weaknesses := weaknesses_of_restored(record, adopted.extractable):
        raise CannotStart(
            Obstacle.MASTER_KEY,
            f"the restored key {master.name!r} is {', '.join(weaknesses)}",
            "Restore the key again by the HSM vendor's mechanism, which keeps its attributes.",
        )


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


def check_value(session: Session, master: MasterKey) -> bytes:
    """SHA-256 of a fixed, known key wrapped by this one, or of fixed bytes encrypted by it.

    Ours, because PKCS#11's own (CKA_CHECK_VALUE) has 3 bytes. Raises CannotStart when the token
    does not let the key prove itself, PKCS11Error when the token is away.
    """
    if master.is_host:
        nonce = GCMParams(CHECK_NONCE, None, GCM_TAG_BITS)
        encrypted = master.key.encrypt(
            CHECK_VALUE_SEED, mechanism=Mechanism.AES_GCM, mechanism_param=nonce
        )
        return hashlib.sha256(encrypted).digest()
    known = session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.VALUE: hashlib.sha256(CHECK_VALUE_SEED).digest(),
            Attribute.TOKEN: False,
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: True,
        }
    )
    try:
        return hashlib.sha256(_wrap_known(master, known)).digest()
    finally:
        known.destroy()


def _wrap_known(master: MasterKey, known: Object) -> bytes:
    refusals = []
    for mechanism in CHECK_MECHANISMS:
        try:
            wrapped: bytes = master.key.wrap_key(known, mechanism=mechanism)
        except PKCS11Error as error:
            refusals.append(f"{mechanism.name}: {name_of(error)}")
        else:
            return wrapped
    raise CannotStart(
        Obstacle.MASTER_KEY,
        f"the key {master.name!r} wraps nothing ({'; '.join(refusals)})",
        "Run the doctor command: it shows which wrap mechanisms the token has.",
    )


def describe(session: Session, master: MasterKey) -> MasterKeyRecord:
    """Return the facts about a master key that an operator sees."""
    return MasterKeyRecord(
        name=master.name,
        label=master.label,
        version=master.version,
        check_value=check_value(session, master),
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
    except PKCS11Error:
        return None


def _flag(key: Object, attribute: Attribute, otherwise: bool) -> bool:
    """Return an attribute, or ``otherwise`` for a token that does not know the attribute."""
    try:
        return bool(key[attribute])
    except PKCS11Error:
        return otherwise
