"""What a result of the API should be, according to libraries that the service does not use for it.

``check_wallet`` recomputes an address, ``check_signature`` a digest and everything that a signature
leaves as. Both fail by AssertionError.
"""

import hashlib
from dataclasses import dataclass

import bdkpython as bdk
import nacl.signing
from bitcoin.core import Hash160
from bitcoin.core.key import CPubKey
from bitcoin.signmessage import BitcoinMessage
from bitcoin.wallet import P2WPKHBitcoinAddress
from buidl.ecc import S256Point, SchnorrSignature
from buidl.script import P2TRScriptPubKey
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from eth_account import Account
from eth_account.messages import defunct_hash_message, encode_defunct
from eth_keys import datatypes as eth_keys
from eth_utils.crypto import keccak
from solders.pubkey import Pubkey
from solders.signature import Signature as SolanaSignature

from custody.client import (
    Curve,
    HashFunction,
    Key,
    KeyStatus,
    Network,
    Protection,
    Scheme,
    Signature,
    SignatureResult,
    SignatureStatus,
    Store,
    Wallet,
)
from custody.wire.answers import known
from devstack.bip322 import check_taproot_message

BUIDL = {
    Network.BITCOIN: "mainnet",
    Network.BITCOIN_TESTNET4: "testnet",
    Network.BITCOIN_SIGNET: "signet",
}
BDK = {
    Network.BITCOIN: (bdk.Network.BITCOIN, bdk.NetworkKind.MAIN),
    Network.BITCOIN_TESTNET4: (bdk.Network.TESTNET4, bdk.NetworkKind.TEST),
    Network.BITCOIN_SIGNET: (bdk.Network.SIGNET, bdk.NetworkKind.TEST),
}
OPENSSL_CURVES = {Curve.SECP256K1: ec.SECP256K1(), Curve.SECP256R1: ec.SECP256R1()}


@dataclass(frozen=True)
class Wanted:
    """What an application asked to be signed: ``content`` is the hash, or the message's bytes."""

    kind: str
    content: bytes
    hash_function: HashFunction | None = None

    def body(self, external_id: str | None = None) -> dict[str, str]:
        """The request's body."""
        body = {"kind": self.kind, self.kind.lower(): "0x" + self.content.hex()}
        if self.hash_function is not None:
            body["hash_function"] = self.hash_function.value
        if external_id is not None:
            body["external_id"] = external_id
        return body


def check_wallet(wallet: Wallet, key: Key) -> None:
    assert wallet.status is KeyStatus.ACTIVE
    assert wallet.key_id == key.id
    assert wallet.network is key.network
    check_key(key)
    assert key.public_key is not None
    match known(wallet.network).family:
        case Network.ETHEREUM:
            point = eth_keys.PublicKey.from_compressed_bytes(key.public_key)
            assert wallet.address == point.to_checksum_address()
        case Network.BITCOIN if key.scheme is Scheme.SCHNORR:
            prefix = BUIDL[known(wallet.network)]
            assert wallet.address == P2TRScriptPubKey(key.public_key).address(network=prefix)
        case Network.BITCOIN:
            theirs, kind = BDK[known(wallet.network)]
            descriptor = bdk.Descriptor(f"wpkh({key.public_key.hex()})", kind)
            assert wallet.address == str(descriptor.derive_address(0, theirs))
            if wallet.network is Network.BITCOIN:
                program = P2WPKHBitcoinAddress.from_bytes(0, Hash160(key.public_key))
                assert wallet.address == str(program)
        case _:
            assert wallet.address == str(Pubkey.from_bytes(key.public_key))


def check_key(key: Key) -> None:
    """The public key is a point of its curve, and the protection is as this stack must have it."""
    assert key.status is KeyStatus.ACTIVE
    assert key.public_key is not None
    assert key.protection is _expected_protection(key)
    if key.scheme is Scheme.EDDSA:
        assert Pubkey.from_bytes(key.public_key).is_on_curve()
    elif key.scheme is Scheme.SCHNORR:
        S256Point.parse_bip340(key.public_key)
    else:
        curve = OPENSSL_CURVES[known(key.curve)]
        ec.EllipticCurvePublicKey.from_encoded_point(curve, key.public_key)


def _expected_protection(key: Key) -> Protection:
    if key.store is Store.MPC:
        return Protection.MPC
    assert key.scheme is not Scheme.SCHNORR  # no token signs by BIP-340
    # SoftHSM does not wrap Ed25519
    return Protection.HOST if key.scheme is Scheme.EDDSA else Protection.HSM


def check_signature(key: Key, wanted: Wanted, signature: Signature) -> None:
    assert signature.status is SignatureStatus.SIGNED
    assert signature.key_id == key.id
    assert signature.kind == wanted.kind
    assert signature.reason is None
    assert signature.signature is not None
    assert key.public_key is not None
    if key.scheme is Scheme.SCHNORR:
        _check_schnorr(key, key.public_key, wanted, signature)
        return
    digest = expected_digest(key, wanted)
    assert signature.digest == digest
    if digest is None:
        _check_ed25519(key.public_key, wanted.content, signature.signature)
    else:
        _check_ecdsa(known(key.curve), key.public_key, digest, signature.signature)
        _check_encoded(key, wanted, digest, signature.signature)


def _family(key: Key) -> Network | None:
    """Return the main network whose rules the key's messages follow."""
    return None if key.network is None else known(key.network).family


def expected_digest(key: Key, wanted: Wanted) -> bytes | None:
    if key.scheme is Scheme.EDDSA:
        return None
    if wanted.kind == "Hash":
        return wanted.content
    match _family(key):
        case Network.ETHEREUM:
            return bytes(defunct_hash_message(primitive=wanted.content))
        case Network.BITCOIN:
            message = BitcoinMessage()
            object.__setattr__(message, "message", wanted.content)
            return bytes(message.GetHash())
        case _:
            return _hashed(wanted)


def _hashed(wanted: Wanted) -> bytes:
    match wanted.hash_function:
        case HashFunction.SHA_256:
            return hashlib.sha256(wanted.content).digest()
        case HashFunction.SHA3_256:
            return hashlib.sha3_256(wanted.content).digest()
        case HashFunction.KECCAK_256:
            return keccak(wanted.content)
        case None:
            raise AssertionError("a bare ECDSA or Schnorr key needs a hash function")


def _check_ed25519(public_key: bytes, message: bytes, made: SignatureResult) -> None:
    assert made.encoded == made.r + made.s
    assert made.recid is None
    nacl.signing.VerifyKey(public_key).verify(message, made.encoded)
    address = Pubkey.from_bytes(public_key)
    assert SolanaSignature.from_bytes(made.encoded).verify(address, message)


def _check_schnorr(key: Key, public_key: bytes, wanted: Wanted, signature: Signature) -> None:
    made = signature.signature
    assert made is not None
    assert signature.digest is not None
    assert made.recid is None
    point = S256Point.parse_bip340(public_key)
    assert point.verify_schnorr(signature.digest, SchnorrSignature.parse(made.r + made.s))
    if _family(key) is Network.BITCOIN and wanted.kind == "Message":
        address = P2TRScriptPubKey(public_key).address()
        check_taproot_message(address, wanted.content, made.encoded)
        return
    assert made.encoded == made.r + made.s
    assert signature.digest == (wanted.content if wanted.kind == "Hash" else _hashed(wanted))


def _check_ecdsa(curve: Curve, public_key: bytes, digest: bytes, made: SignatureResult) -> None:
    point = ec.EllipticCurvePublicKey.from_encoded_point(OPENSSL_CURVES[curve], public_key)
    r, s = int.from_bytes(made.r), int.from_bytes(made.s)
    point.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(SHA256())))
    assert s <= OPENSSL_CURVES[curve].group_order // 2
    if curve is Curve.SECP256K1:
        assert made.recid is not None
        recoverable = eth_keys.Signature(made.r + made.s + bytes([made.recid]))
        found = recoverable.recover_public_key_from_msg_hash(digest)
        assert found.to_compressed_bytes() == public_key
    else:
        assert made.recid is None


def _check_encoded(key: Key, wanted: Wanted, digest: bytes, made: SignatureResult) -> None:
    if _family(key) is Network.ETHEREUM:
        assert made.encoded == made.r + made.s + bytes([27 + (made.recid or 0)])
        if wanted.kind == "Message":
            assert key.public_key is not None
            signer = Account.recover_message(
                encode_defunct(primitive=wanted.content), signature=made.encoded
            )
            point = eth_keys.PublicKey.from_compressed_bytes(key.public_key)
            assert signer == point.to_checksum_address()
    elif _family(key) is Network.BITCOIN and wanted.kind == "Message":
        header = made.encoded[0]
        assert header == 39 + (made.recid or 0)
        compact = bytes([header - 8]) + made.encoded[1:]  # all that bitcoinlib knows
        assert bytes(CPubKey.recover_compact(digest, compact)) == key.public_key
    else:
        r, s = utils.decode_dss_signature(made.encoded)
        assert (r.to_bytes(32), s.to_bytes(32)) == (made.r, made.s)
