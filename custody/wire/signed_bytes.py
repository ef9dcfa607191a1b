"""Signed bytes: Ed25519 over the DSSE pre-authentication encoding.

https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, section "Signature Definition".
The payload stays bytes, and is parsed only after its signature has been verified.
"""

import hashlib
import re
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field

from custody.wire.encoding import Base64Bytes, Model
from custody.wire.public_keys import check_ed25519

JOB_TYPE = "application/vnd.custody.job.v1+json"
AUDIT_HEAD_TYPE = "application/vnd.custody.audit-head.v1+json"
TICKET_TYPE = "application/vnd.custody.ticket.v1+json"
DELIVERY_TICKET_TYPE = "application/vnd.custody.delivery-ticket.v1+json"
RESTORED_TYPE = "application/vnd.custody.audit-restored.v1+json"
AUDIT_CHECKPOINT_TYPE = "application/vnd.custody.audit-checkpoint.v1+json"
CONFIRMATION_TYPE = "application/vnd.custody.confirmation.v1+json"
PROMISE_TYPE = "application/vnd.custody.promise.v1+json"
ABANDONMENT_TYPE = "application/vnd.custody.abandonment.v1+json"
IMPORT_KEY_TYPE = "application/vnd.custody.import-key.v1+json"
DEALING_TYPE = "application/vnd.custody.dealing.v1+json"
ATTESTATION_TYPE = "application/vnd.custody.attestation.v1+json"
BAN_TYPE = "application/vnd.custody.ban.v1+json"
BAN_QUESTION_TYPE = "application/vnd.custody.ban-question.v1+json"
BAN_ANSWER_TYPE = "application/vnd.custody.ban-answer.v1+json"
SHARE_COPY_TYPE = "application/vnd.custody.share-copy.v1+json"
KEY_COPY_TYPE = "application/vnd.custody.key-copy.v1+json"
BACKUP_TYPE = "application/vnd.custody.backup.v1+json"


MAX_PINNED_KEYS = 16
"""Limit of the ids in one SigningKeyIds; a node pins two keys while one is being replaced."""

KEY_ID = re.compile(r"[0-9a-f]{16}")

SigningKeyIds = Annotated[
    tuple[Annotated[str, Field(pattern=f"^{KEY_ID.pattern}$")], ...],
    Field(max_length=MAX_PINNED_KEYS),
]
"""The ids of keys, as ``signing_key_id`` makes them."""


class BadSignedBytes(ValueError):
    """No pinned key has signed these bytes."""


class SignedBytes(Model):
    payload: Base64Bytes
    signature: Base64Bytes
    signing_key_id: str


class DetachedSignature(Model):
    """A signature; its payload travels separately."""

    signature: Base64Bytes
    signing_key_id: str

    def of(self, payload: bytes) -> SignedBytes:
        return SignedBytes(
            payload=payload, signature=self.signature, signing_key_id=self.signing_key_id
        )


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's PAE: type and payload, each after its size in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def signing_key_id(public_key: bytes) -> str:
    """Return an Ed25519 public key's short name: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


class SigningKey:
    """Signs payloads with one Ed25519 key."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self.public_key = private_key.public_key().public_bytes_raw()
        self.key_id = signing_key_id(self.public_key)

    def sign(self, payload_type: str, payload: bytes) -> SignedBytes:
        signature = self._private_key.sign(pre_authentication_encoding(payload_type, payload))
        return SignedBytes(payload=payload, signature=signature, signing_key_id=self.key_id)


class PinnedKeys:
    """The Ed25519 public keys that a process believes."""

    def __init__(self, public_keys: list[bytes]) -> None:
        """Raises ValueError for bytes that are not a public key."""
        self._keys = {
            signing_key_id(key): Ed25519PublicKey.from_public_bytes(check_ed25519(key))
            for key in public_keys
        }

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the keys' ids, in the order in which they were pinned."""
        return tuple(self._keys)

    def open(self, payload_type: str, signed: SignedBytes) -> bytes:
        """Verify the signature and return the payload. Raise BadSignedBytes."""
        key = self._keys.get(signed.signing_key_id)
        if key is None:
            raise BadSignedBytes(f"signed by {signed.signing_key_id}, which is not pinned")
        try:
            key.verify(signed.signature, pre_authentication_encoding(payload_type, signed.payload))
        except InvalidSignature:
            raise BadSignedBytes(f"the signature under {signed.signing_key_id} is wrong") from None
        return signed.payload
