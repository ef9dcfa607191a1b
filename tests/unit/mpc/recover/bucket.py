"""Folders of share copies, as a customer downloads them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID, uuid5

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from custody.wire.algorithms import Network
from custody.wire.signed_bytes import SHARE_COPY_TYPE, SigningKey
from mpc import _native as native
from mpc.layer4.share_copy import read_share_copy
from tests.unit.mpc.layer4.share_copies import IDENTITIES, KEY_ID, documents

CUSTOMER = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes([8]) * 32)


def write_key_file(path: Path, key: Ed25519PrivateKey = CUSTOMER) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    return path


def sealed(document: bytes, customer: Ed25519PrivateKey = CUSTOMER) -> bytes:
    """Return a document encrypted to a customer key, as a signer does it."""
    public_key = customer.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    recipient = pyrage.ssh.Recipient.from_str(public_key.decode())
    return bytes(pyrage.encrypt(document, [recipient]))


def write_copies(
    folder: Path,
    shares: Mapping[int, native.Share],
    generation: int = 0,
    key_id: UUID = KEY_ID,
    customer: Ed25519PrivateKey = CUSTOMER,
    network: Network | None = None,
    ceremony: UUID | None = None,
    identity: SigningKey | None = None,
) -> dict[int, Path]:
    """Write the copies of a set under the prefixes of its signers. Return the paths by index."""
    paths = {}
    for index, document in documents(
        shares, generation, key_id, network, ceremony, identity
    ).items():
        file = sealed(document, customer)
        made_by = ceremony or uuid5(key_id, str(generation))
        name = f"{generation}-{made_by}-{hashlib.sha256(file).hexdigest()}.age"
        path = folder / f"signer-{index}" / str(key_id) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
        paths[index] = path
    return paths


def forged(document: bytes, **changes: object) -> bytes:
    """A document that a lying signer has changed, and signed again with its own key."""
    copy = read_share_copy(document)
    signer = IDENTITIES[copy.signer]
    payload = json.dumps(copy.model_dump(mode="json") | changes).encode()
    return signer.sign(SHARE_COPY_TYPE, payload).model_dump_json().encode()
