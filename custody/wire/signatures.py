"""The final form of signatures: verified, with low s, recovery id and encoding."""

from coincurve import PublicKey as Secp256k1PublicKey
from coincurve import PublicKeyXOnly
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256

from custody.wire import bip322
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    SCHNORR_SECP256K1,
    Algorithm,
    Curve,
    Network,
    Scheme,
)
from custody.wire.encoding import HexBytes, Model
from custody.wire.points import GROUP_ORDER
from custody.wire.public_keys import check_ed25519, check_public_key
from custody.wire.requests import SignHash, SignMessage, SignRequest

RAW_SIZE = 64
BIP137_P2WPKH_HEADER = 39
ETHEREUM_V = 27


class BadSignature(ValueError):
    """A raw signature does not verify under its key."""


class SignatureResult(Model):
    """r and s are 32 bytes each; for EdDSA and Schnorr, as RFC 8032 and BIP-340 encode them."""

    r: HexBytes
    s: HexBytes
    recid: int | None = None
    """ECDSA on secp256k1 only, 0 to 3: the public key recovers with it (SEC 1, section 4.1.6)."""
    encoded: HexBytes
    """The usual encoding. Ethereum: r, s, v. A Bitcoin message: BIP-137, or BIP-322's witness for
    Taproot. Other ECDSA: DER. Other Schnorr, and Ed25519: the 64 bytes."""


def finish(
    raw: bytes,
    public_key: bytes,
    algorithm: Algorithm,
    network: Network | None,
    request: SignRequest,
    digest: bytes | None,
) -> SignatureResult:
    """Verify a raw 64-byte signature and return its final form. Raise BadSignature."""
    if len(raw) != RAW_SIZE:
        raise BadSignature(f"a raw signature has {RAW_SIZE} bytes, not {len(raw)}")
    if algorithm.scheme is Scheme.EDDSA:
        if isinstance(request, SignHash):
            raise BadSignature("Ed25519 signs messages only")
        _verify_ed25519(raw, public_key, request.content)
        return SignatureResult(r=raw[:32], s=raw[32:], encoded=raw)
    if digest is None:
        raise BadSignature(f"{algorithm.scheme.value} signs a digest")
    if algorithm.scheme is Scheme.SCHNORR:
        _verify_schnorr(raw, public_key, digest)
        is_taproot_message = network is not None and isinstance(request, SignMessage)
        encoded = bip322.witness(raw) if is_taproot_message else raw
        return SignatureResult(r=raw[:32], s=raw[32:], encoded=encoded)
    low = _low_s(raw, algorithm.curve)
    recid = None
    if algorithm == ECDSA_SECP256K1:
        recid = _recovery_id(low, public_key, digest)
    else:
        _verify_p256(low, public_key, digest)
    encoded = _encode(low, recid, network, isinstance(request, SignMessage))
    return SignatureResult(r=low[:32], s=low[32:], recid=recid, encoded=encoded)


def verify(
    result: SignatureResult,
    public_key: bytes,
    algorithm: Algorithm,
    network: Network | None,
    request: SignRequest,
    digest: bytes | None,
) -> None:
    """Check that a result has exactly the form that ``finish`` returns. Raise BadSignature."""
    again = finish(result.r + result.s, public_key, algorithm, network, request, digest)
    if again != result:
        raise BadSignature("s, recid or encoded does not have the form of this service")


def _low_s(raw: bytes, curve: Curve) -> bytes:
    """Return the equivalent signature with s at most half the order (BIP-62, rule 5)."""
    order = GROUP_ORDER[curve]
    s = int.from_bytes(raw[32:])
    if s >= order:
        raise BadSignature("s is not below the order of the curve")
    if s > order // 2:
        s = order - s
    return raw[:32] + s.to_bytes(32)


def _recovery_id(raw: bytes, public_key: bytes, digest: bytes) -> int:
    """Return the recid with which the public key recovers (SEC 1, section 4.1.6).

    This also verifies the signature: a signature that recovers a key is valid under that key.
    """
    for recid in range(4):
        try:
            found = Secp256k1PublicKey.from_signature_and_message(
                raw + bytes([recid]), digest, hasher=None
            )
        except ValueError:
            continue
        if found.format() == public_key:
            return recid
    raise BadSignature("the ECDSA signature does not verify under the public key")


def _verify_p256(raw: bytes, public_key: bytes, digest: bytes) -> None:
    try:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    except ValueError:
        raise BadSignature("the public key is not a point of P-256") from None
    try:
        point.verify(der(raw), digest, ec.ECDSA(utils.Prehashed(SHA256())))
    except InvalidSignature:
        raise BadSignature("the ECDSA signature does not verify under the public key") from None


def _verify_schnorr(raw: bytes, public_key: bytes, digest: bytes) -> None:
    """BIP-340, section "Verification"."""
    try:
        check_public_key(SCHNORR_SECP256K1, public_key)
    except ValueError as error:
        raise BadSignature(str(error)) from None
    if not PublicKeyXOnly(public_key).verify(raw, digest):
        raise BadSignature("the Schnorr signature does not verify under the public key")


def _verify_ed25519(raw: bytes, public_key: bytes, message: bytes) -> None:
    try:
        check_ed25519(public_key)
    except ValueError as error:
        raise BadSignature(str(error)) from None
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public_key).verify(raw, message)
    except InvalidSignature:
        raise BadSignature("the Ed25519 signature does not verify under the public key") from None


def der(raw: bytes) -> bytes:
    """Return ASN.1 DER of r and s (SEC 1, section C.5)."""
    return utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))


def _encode(raw: bytes, recid: int | None, network: Network | None, is_message: bool) -> bytes:
    family = None if network is None else network.family
    if family is Network.ETHEREUM and recid is not None:
        return raw + bytes([ETHEREUM_V + recid])
    if family is Network.BITCOIN and recid is not None and is_message:
        return bytes([BIP137_P2WPKH_HEADER + recid]) + raw
    return der(raw)
