"""The 32 bytes that a key signs for a message."""

import hashlib

from Crypto.Hash import keccak

from custody.wire import bip322
from custody.wire.algorithms import Algorithm, Curve, HashFunction, Network, Scheme
from custody.wire.requests import DIGEST_SIZE, SignHash, SignMessage, SignRequest, SignTransaction


class NotSignable(ValueError):
    """A key cannot sign a request; the text says why."""


def keccak_256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def eip191(message: bytes) -> bytes:
    """Return the digest of a personal message (EIP-191, version 0x45)."""
    prefix = b"\x19Ethereum Signed Message:\n" + str(len(message)).encode()
    return keccak_256(prefix + message)


def bip137(message: bytes) -> bytes:
    """Return a Bitcoin message's digest (BIP-137): double SHA-256 of magic, size and message."""
    magic = b"Bitcoin Signed Message:\n"
    data = _compact_size(len(magic)) + magic + _compact_size(len(message)) + message
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def _compact_size(size: int) -> bytes:
    """Bitcoin's variable-length integer."""
    if size < 0xFD:
        return bytes([size])
    if size <= 0xFFFF:
        return b"\xfd" + size.to_bytes(2, "little")
    return b"\xfe" + size.to_bytes(4, "little")


HASHES = {
    HashFunction.SHA_256: lambda data: hashlib.sha256(data).digest(),
    HashFunction.SHA3_256: lambda data: hashlib.sha3_256(data).digest(),
    HashFunction.KECCAK_256: keccak_256,
}


def digest_of(
    request: SignRequest,
    algorithm: Algorithm,
    network: Network | None,
    public_key: bytes | None,
) -> bytes | None:
    """Return the 32-byte digest to sign; None for Ed25519, which signs the message itself.

    A Taproot wallet's digest depends on its public key (bip322.py). Raise NotSignable if the key
    cannot sign such a request.
    """
    if algorithm.scheme is Scheme.EDDSA:
        if isinstance(request, SignHash):
            raise NotSignable("an Ed25519 key signs messages, not hashes: use kind Message")
        if isinstance(request, SignMessage) and request.hash_function is not None:
            raise NotSignable("an Ed25519 key signs the message itself: leave hash_function out")
        return None
    if isinstance(request, SignHash):
        return request.hash
    if isinstance(request, SignTransaction):
        raise NotSignable("a transaction of this network is signed by its hash: use kind Hash")
    if network is None:
        if request.hash_function is None:
            raise NotSignable(
                f"a bare {algorithm.scheme.value} key needs hash_function to sign a Message"
            )
        return HASHES[request.hash_function](request.content)
    if request.hash_function is not None:
        raise NotSignable(f"the {network.value} wallet fixes the hash: leave hash_function out")
    if network.family is Network.ETHEREUM:
        return eip191(request.content)
    if algorithm.scheme is Scheme.ECDSA:
        return bip137(request.content)
    if public_key is None:
        raise NotSignable("the Taproot wallet has no public key yet, and its digests depend on it")
    return bip322.digest(request.content, public_key)


def is_bare_hash(request: SignRequest, curve: Curve) -> bool:
    """Return True if the digest's meaning is unknown.

    Bitcoin signs SHA-256 of SHA-256 of a transaction's parts (BIP-143): a message of 32 bytes under
    SHA-256 may be the inner hash, and the signature that of a transaction.
    """
    if isinstance(request, SignHash):
        return True
    return (
        isinstance(request, SignMessage)
        and curve is Curve.SECP256K1
        and request.hash_function is HashFunction.SHA_256
        and len(request.content) == DIGEST_SIZE
    )
