"""The form that signatures leave in, against published vectors and second implementations."""

import base64

import nacl.signing
import pytest
from bitcoin.core.key import CPubKey
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys import datatypes as eth_keys
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from solders.signature import Signature as SolanaSignature

from custody.wire.addresses import address_of
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    Curve,
    HashFunction,
    Network,
)
from custody.wire.digests import digest_of
from custody.wire.points import GROUP_ORDER
from custody.wire.requests import SignHash, SignMessage
from custody.wire.signatures import BadSignature, SignatureResult, finish, verify

HALF = {curve: order // 2 for curve, order in GROUP_ORDER.items()}
secp256k1_secrets = st.integers(min_value=1, max_value=GROUP_ORDER[Curve.SECP256K1] - 1)
p256_secrets = st.integers(min_value=1, max_value=GROUP_ORDER[Curve.SECP256R1] - 1)
digests = st.binary(min_size=32, max_size=32)


def hash_request(digest: bytes) -> SignHash:
    return SignHash(kind="Hash", hash=digest)


def message_request(text: str) -> SignMessage:
    return SignMessage(kind="Message", message=text)


def raw_secp256k1(secret: int, digest: bytes) -> bytes:
    return PrivateKey.from_int(secret).sign_recoverable(digest, hasher=None)[:64]


def high_s(raw: bytes, curve: Curve) -> bytes:
    return raw[:32] + (GROUP_ORDER[curve] - int.from_bytes(raw[32:])).to_bytes(32)


def finish_secp256k1(
    secret: int, request: SignHash | SignMessage, network: Network | None
) -> SignatureResult:
    digest = digest_of(request, ECDSA_SECP256K1, network, None)
    assert digest is not None
    public_key = PrivateKey.from_int(secret).public_key.format()
    raw = raw_secp256k1(secret, digest)
    return finish(raw, public_key, ECDSA_SECP256K1, network, request, digest)


# Published vectors


def test_an_ethereum_message_signature_is_the_one_web3_documents():
    secret = 0x4C0883A69102937D6231471B5DBB6204FE5129617082792AE468D01A3F362318
    result = finish_secp256k1(secret, message_request("Some data"), Network.ETHEREUM)
    assert result.encoded.hex() == (
        "b91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd"
        "6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a029"
        "1c"
    )
    assert result.recid == 1


def test_go_ethereums_signature_has_its_recovery_id():
    # go-ethereum, crypto/signature_test.go
    public_key = bytes.fromhex("02e32df42865e97135acfb65f3bae71bdc86f4d49150ad6a440b6f15878109880a")
    digest = bytes.fromhex("ce0677bb30baa8cf067c88db9811f4333d131bf8bcf12fe7065d211dce971008")
    raw = bytes.fromhex(
        "90f27b8b488db00b00606796d2987f6a5f59ae62ea05effe84fef5b8b0e54998"
        "4a691139ad57a3f0b906637673aa2f63d1f55cb1a69199d4009eea23ceaddc93"
    )
    result = finish(raw, public_key, ECDSA_SECP256K1, None, hash_request(digest), digest)
    assert result.recid == 1


def test_a_bitcoin_message_signature_is_the_one_of_bitcoinjs():
    # bitcoinjs-message, test/fixtures.json, "sign", segwit bech32; private key 1
    result = finish_secp256k1(1, message_request("vires is numeris"), Network.BITCOIN)
    assert base64.b64encode(result.encoded).decode() == (
        "KF8nHqFr3K2UKYahhX3soVeoW8W1ECNbr0wfck7lzyXjCS5Q16Ek45zyBuy1Fiy9sTPKVgsqqOuPvbycuVSSVl8="
    )


RFC6979_P256_PUBLIC_KEY = bytes.fromhex(  # RFC 6979, section A.2.5; Uy is odd
    "03" + "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
)


@pytest.mark.parametrize(
    ("text", "r", "s"),
    [  # RFC 6979, section A.2.5, with SHA-256
        (
            "sample",
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
            "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
        ),
        (
            "test",
            "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
            "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
        ),
    ],
)
def test_rfc6979_signatures_of_p256_verify_and_leave_with_low_s(text, r, s):
    request = SignMessage(kind="Message", message=text, hash_function=HashFunction.SHA_256)
    digest = digest_of(request, ECDSA_SECP256R1, None, None)
    raw = bytes.fromhex(r + s)
    result = finish(raw, RFC6979_P256_PUBLIC_KEY, ECDSA_SECP256R1, None, request, digest)
    assert result.r == bytes.fromhex(r)
    assert int.from_bytes(result.s) in (int(s, 16), GROUP_ORDER[Curve.SECP256R1] - int(s, 16))
    assert int.from_bytes(result.s) <= HALF[Curve.SECP256R1]
    assert result.recid is None
    assert utils.decode_dss_signature(result.encoded) == (
        int.from_bytes(result.r),
        int.from_bytes(result.s),
    )


RFC8032 = [  # RFC 8032, section 7.1, tests 1, 2, 3 and SHA(abc): public key, message, signature
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("public_key", "message", "signature"), RFC8032)
def test_rfc8032_signatures_leave_as_they_are(public_key, message, signature):
    request = message_request("0x" + message)
    raw = bytes.fromhex(signature)
    result = finish(raw, bytes.fromhex(public_key), EDDSA_ED25519, Network.SOLANA, request, None)
    assert result.encoded == raw
    assert (result.r, result.s, result.recid) == (raw[:32], raw[32:], None)


# Second implementations


@given(secp256k1_secrets, st.text(max_size=100))
def test_ethereum_messages_are_recovered_by_eth_account(secret, text):
    encoded = finish_secp256k1(
        secret, message_request("0x" + text.encode().hex()), Network.ETHEREUM
    )
    public_key = PrivateKey.from_int(secret).public_key.format()
    signable = encode_defunct(primitive=text.encode())
    recovered = Account.recover_message(signable, signature=encoded.encoded)
    assert recovered == address_of(Network.ETHEREUM, ECDSA_SECP256K1, public_key)


@given(secp256k1_secrets, digests)
def test_ethereum_hashes_leave_as_r_s_v_and_verify_in_eth_keys(secret, digest):
    result = finish_secp256k1(secret, hash_request(digest), Network.ETHEREUM)
    v = result.encoded[64]
    signature = eth_keys.Signature(result.encoded[:64] + bytes([v - 27]))
    public_key = eth_keys.PrivateKey(secret.to_bytes(32)).public_key
    assert v == 27 + (result.recid or 0)
    assert signature.recover_public_key_from_msg_hash(digest) == public_key


@given(secp256k1_secrets, st.text(max_size=100))
def test_bitcoin_messages_are_recovered_by_python_bitcoinlib(secret, text):
    result = finish_secp256k1(secret, message_request("0x" + text.encode().hex()), Network.BITCOIN)
    digest = digest_of(
        message_request("0x" + text.encode().hex()), ECDSA_SECP256K1, Network.BITCOIN, None
    )
    header = result.encoded[0]
    assert 39 <= header <= 42  # BIP-137: P2WPKH
    as_compressed_p2pkh = bytes([header - 8]) + result.encoded[1:]  # all that bitcoinlib knows
    recovered = CPubKey.recover_compact(digest, as_compressed_p2pkh)
    assert bytes(recovered) == PrivateKey.from_int(secret).public_key.format()


@given(secp256k1_secrets, digests, st.sampled_from([None, Network.BITCOIN]))
def test_bare_secp256k1_and_bitcoin_hashes_leave_as_der_that_openssl_verifies(
    secret, digest, network
):
    result = finish_secp256k1(secret, hash_request(digest), network)
    point = ec.derive_private_key(secret, ec.SECP256K1()).public_key()
    point.verify(result.encoded, digest, ec.ECDSA(utils.Prehashed(SHA256())))
    assert utils.decode_dss_signature(result.encoded) == (
        int.from_bytes(result.r),
        int.from_bytes(result.s),
    )


@given(p256_secrets, digests)
@settings(max_examples=50)
def test_p256_signatures_verify_whichever_s_the_hsm_gave(secret, digest):
    private_key = ec.derive_private_key(secret, ec.SECP256R1())
    signed = private_key.sign(digest, ec.ECDSA(utils.Prehashed(SHA256())))
    r, s = utils.decode_dss_signature(signed)
    raw = r.to_bytes(32) + s.to_bytes(32)
    public_key = compressed(private_key.public_key())
    request = hash_request(digest)
    result = finish(raw, public_key, ECDSA_SECP256R1, None, request, digest)
    twin = finish(high_s(raw, Curve.SECP256R1), public_key, ECDSA_SECP256R1, None, request, digest)
    assert result == twin
    assert result.recid is None
    private_key.public_key().verify(result.encoded, digest, ec.ECDSA(utils.Prehashed(SHA256())))


def compressed(key: ec.EllipticCurvePublicKey) -> bytes:
    numbers = key.public_numbers()
    return bytes([2 + numbers.y % 2]) + numbers.x.to_bytes(32)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_ed25519_signatures_verify_in_libsodium_and_in_solders(seed, content):
    key = nacl.signing.SigningKey(seed)
    raw = key.sign(content).signature
    public_key = bytes(key.verify_key)
    request = message_request("0x" + content.hex())
    result = finish(raw, public_key, EDDSA_ED25519, Network.SOLANA, request, None)
    assert result.r + result.s == result.encoded == raw
    key.verify_key.verify(content, result.encoded)
    address = Pubkey.from_string(address_of(Network.SOLANA, EDDSA_ED25519, public_key))
    assert SolanaSignature.from_bytes(result.encoded).verify(address, content)


# Low s, recovery ids, and what must not leave


@given(secp256k1_secrets, digests, st.sampled_from([None, *Network]))
def test_both_forms_of_s_leave_as_the_same_low_s_signature(secret, digest, network):
    if network is not None and network.family is Network.SOLANA:
        network = None
    public_key = PrivateKey.from_int(secret).public_key.format()
    low = raw_secp256k1(secret, digest)
    request = hash_request(digest)
    results = [
        finish(raw, public_key, ECDSA_SECP256K1, network, request, digest)
        for raw in (low, high_s(low, Curve.SECP256K1))
    ]
    assert results[0] == results[1]
    assert int.from_bytes(results[0].s) <= HALF[Curve.SECP256K1]


@given(secp256k1_secrets, digests)
def test_the_recovery_id_recovers_the_public_key_in_eth_keys(secret, digest):
    result = finish_secp256k1(secret, hash_request(digest), None)
    assert result.recid is not None
    signature = eth_keys.Signature(result.r + result.s + bytes([result.recid]))
    recovered = signature.recover_public_key_from_msg_hash(digest)
    assert recovered == eth_keys.PrivateKey(secret.to_bytes(32)).public_key


def ecdsa_case(curve: Curve) -> tuple[bytes, bytes]:
    """A public key, and its raw signature of 32 zero bytes."""
    if curve is Curve.SECP256K1:
        return PrivateKey.from_int(7).public_key.format(), raw_secp256k1(7, bytes(32))
    private_key = ec.derive_private_key(7, ec.SECP256R1())
    r, s = utils.decode_dss_signature(
        private_key.sign(bytes(32), ec.ECDSA(utils.Prehashed(SHA256())))
    )
    return compressed(private_key.public_key()), r.to_bytes(32) + s.to_bytes(32)


ECDSA = {Curve.SECP256K1: ECDSA_SECP256K1, Curve.SECP256R1: ECDSA_SECP256R1}


@pytest.mark.parametrize("curve", list(ECDSA))
@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw, order: raw[:-1],
        lambda raw, order: raw + b"\x00",
        lambda raw, order: bytes(64),
        lambda raw, order: bytes(32) + raw[32:],
        lambda raw, order: raw[:32] + bytes(32),
        lambda raw, order: b"\xff" * 64,
        lambda raw, order: raw[:32] + b"\xff" * 32,
        lambda raw, order: raw[:32] + order.to_bytes(32),
        lambda raw, order: raw[32:] + raw[:32],
        lambda raw, order: bytes([raw[0] ^ 1]) + raw[1:],
    ],
    ids=[
        "short", "long", "zero", "r=0", "s=0", "all ones", "s above the order", "s = order",
        "r and s swapped", "a bit flipped",
    ],
)  # fmt: skip
def test_what_is_no_signature_of_the_key_never_leaves(curve, spoil):
    public_key, raw = ecdsa_case(curve)
    request = hash_request(bytes(32))
    finish(raw, public_key, ECDSA[curve], None, request, bytes(32))
    with pytest.raises(BadSignature):
        finish(spoil(raw, GROUP_ORDER[curve]), public_key, ECDSA[curve], None, request, bytes(32))


@given(st.binary(min_size=64, max_size=64), st.sampled_from(list(ECDSA)))
def test_any_64_bytes_either_verify_or_are_a_bad_signature(raw, curve):
    public_key, _ = ecdsa_case(curve)
    with pytest.raises(BadSignature):
        finish(raw, public_key, ECDSA[curve], None, hash_request(bytes(32)), bytes(32))


@pytest.mark.parametrize("curve", list(ECDSA))
@pytest.mark.parametrize("public_key", [b"", bytes(33), b"\x02" + b"\xff" * 32])
def test_a_damaged_public_key_verifies_nothing(curve, public_key):
    _, raw = ecdsa_case(curve)
    with pytest.raises(BadSignature):
        finish(raw, public_key, ECDSA[curve], None, hash_request(bytes(32)), bytes(32))


@pytest.mark.parametrize("curve", list(ECDSA))
def test_a_signature_of_another_digest_or_key_never_leaves(curve):
    public_key, raw = ecdsa_case(curve)
    other = bytes(31) + b"\x01"
    with pytest.raises(BadSignature, match="does not verify"):
        finish(raw, public_key, ECDSA[curve], None, hash_request(other), other)
    if curve is Curve.SECP256K1:
        wrong = PrivateKey.from_int(8).public_key.format()
        with pytest.raises(BadSignature, match="does not verify"):
            finish(raw, wrong, ECDSA[curve], None, hash_request(bytes(32)), bytes(32))


def test_an_ed25519_signature_of_another_message_or_key_never_leaves():
    key = nacl.signing.SigningKey(bytes(32))
    raw = key.sign(b"hi").signature
    for public_key, text in (
        (bytes(key.verify_key), "ho"),
        (bytes(nacl.signing.SigningKey(b"\x01" * 32).verify_key), "hi"),
        (b"short", "hi"),
    ):
        with pytest.raises(BadSignature):
            finish(raw, public_key, EDDSA_ED25519, None, message_request(text), None)


def test_ed25519_never_signs_a_hash_and_ecdsa_never_without_a_digest():
    public_key, raw = ecdsa_case(Curve.SECP256K1)
    with pytest.raises(BadSignature, match="messages only"):
        finish(raw, bytes(32), EDDSA_ED25519, None, hash_request(bytes(32)), None)
    with pytest.raises(BadSignature, match="a digest"):
        finish(raw, public_key, ECDSA_SECP256K1, None, hash_request(bytes(32)), None)


def test_the_control_plane_takes_a_result_only_in_the_form_that_finish_gives():
    result = finish_secp256k1(7, message_request("hi"), Network.ETHEREUM)
    public_key = PrivateKey.from_int(7).public_key.format()
    request = message_request("hi")
    digest = digest_of(request, ECDSA_SECP256K1, Network.ETHEREUM, None)

    def check(**changes: object) -> None:
        changed = result.model_copy(update=changes)
        verify(changed, public_key, ECDSA_SECP256K1, Network.ETHEREUM, request, digest)

    check()
    for changes in (
        {"s": high_s(result.r + result.s, Curve.SECP256K1)[32:]},
        {"recid": 1 - (result.recid or 0)},
        {"recid": None},
        {"encoded": result.encoded[:64]},
        {"encoded": b""},
        {"r": result.r[:31], "s": result.r[31:] + result.s},
        {"s": b"\xff" * 32},
    ):
        with pytest.raises(BadSignature):
            check(**changes)
