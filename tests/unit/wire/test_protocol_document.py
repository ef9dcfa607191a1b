"""docs/reference/wire-protocol says what the code does: its examples and tables are checked."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest
from coincurve import PrivateKey, PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256

import custody.node
import hsm_driver
import mpc.bans
import mpc.ceremonies
import mpc.handlers
import mpc.imports
import mpc.layer4
import mpc.restored
import mpc.shares
from custody.control_plane.conductor.planning.history import BLAMELESS
from custody.delivery.problems import STATUS
from custody.pkcs11.errors import BY_CODE, ImportKeyMissing, MasterKeyMissing
from custody.wire import bip322
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    Algorithm,
    HashFunction,
    Network,
)
from custody.wire.delivery import (
    DeliveryCode,
    DeliveryProblem,
    decode_abort,
    decode_hand_in,
    decode_messages,
)
from custody.wire.digests import HASHES, NotSignable, bip137, digest_of, eip191
from custody.wire.outcomes import APPROVAL_PENDING
from custody.wire.requests import SignHash, SignMessage, SignRequest, SignTransaction
from custody.wire.signatures import SignatureResult, der, finish
from custody.wire.signed_bytes import DELIVERY_TICKET_TYPE, JOB_TYPE, PinnedKeys
from mpc.ceremonies.delivery_client import (
    CeremonyExpired,
    DeliveryRefused,
    DeliveryUnavailable,
    PeerAborted,
    problem_of,
)
from tests.unit.wire import protocol_examples, signer_examples
from tests.unit.wire.example_keys import JOB_SIGNER
from tests.unit.wire.protocol_examples import (
    BLOCK,
    MODELS,
    WHOLE_EXAMPLES,
    block,
    examples,
    shown,
    text_of_all_pages,
    whole_examples,
)

TEXT = text_of_all_pages()
SHOWN = {name: text for name, _, text in BLOCK.findall(TEXT)}
FILES = {path.name: path.read_text("utf-8") for path in WHOLE_EXAMPLES.iterdir()}
BLOCKS = SHOWN | {name.rsplit(".", 1)[0]: text.removesuffix("\n") for name, text in FILES.items()}
"""Each example, whole."""
RENEW = "run: python -m tests.unit.wire.protocol_examples"


def test_every_example_is_in_the_document_and_no_other():
    assert set(SHOWN) == set(examples())


@pytest.mark.parametrize("name", list(examples()))
def test_an_example_is_what_the_models_give(name):
    assert SHOWN.get(name) == shown(examples()[name]), RENEW


def test_an_example_with_long_values_has_a_file_beside_the_page():
    assert whole_examples() == FILES, RENEW


@pytest.mark.parametrize(("name", "language"), [each[:2] for each in BLOCK.findall(TEXT)])
def test_a_cut_example_links_to_its_file(name, language):
    assert block(name, language) in TEXT, RENEW


@pytest.mark.parametrize("name", list(MODELS))
def test_an_example_is_read_back_by_its_model(name):
    model = MODELS[name]
    assert type(model).model_validate_json(BLOCKS[name]) == model


def test_every_json_block_is_a_checked_example():
    unchecked = BLOCK.sub("", TEXT)
    assert "```json" not in unchecked


def test_the_signed_job_of_the_document_opens_under_its_key():
    pinned = PinnedKeys([JOB_SIGNER.public_key])
    signed = protocol_examples.SIGNED_JOB
    assert pinned.open(JOB_TYPE, signed).decode() == BLOCKS["job-payload"]
    assert json.loads(BLOCKS["job-payload"]) == json.loads(BLOCKS["job-sign"])


# The table: key, kind, digest, encoded

ROW = re.compile(r"^\| (.+?) \| (Hash|Message|Transaction) \| (.+?) \| (.+?) \|$", re.MULTILINE)
ROWS = ROW.findall(TEXT)

KEYS: dict[str, tuple[Algorithm, Network | None]] = {
    "Ethereum wallet": (ECDSA_SECP256K1, Network.ETHEREUM),
    "Bitcoin wallet, p2wpkh": (ECDSA_SECP256K1, Network.BITCOIN),
    "Bitcoin wallet, p2tr": (SCHNORR_SECP256K1, Network.BITCOIN),
    "Solana wallet": (EDDSA_ED25519, Network.SOLANA),
    "ECDSA secp256k1 key": (ECDSA_SECP256K1, None),
    "ECDSA secp256r1 key": (ECDSA_SECP256R1, None),
    "Schnorr secp256k1 key": (SCHNORR_SECP256K1, None),
    "EdDSA ed25519 key": (EDDSA_ED25519, None),
}
SECRET = 7
X_ONLY = PublicKeyXOnly.from_secret(SECRET.to_bytes(32)).format()
DIGESTS: dict[str, Callable[[bytes], bytes | None]] = {
    "`hash`": lambda content: content,
    "EIP-191 (version 0x45): Keccak-256": eip191,
    "BIP-137: double SHA-256": bip137,
    "BIP-322: signature hash of `to_sign`": lambda content: bip322.digest(content, X_ONLY),
    "`hash_function` of the message": HASHES[HashFunction.SHA3_256],
    "null": lambda content: None,
}
ENCODED: dict[str, Callable[[SignatureResult], bytes]] = {
    "r ‖ s ‖ v, v = 27 + recid": lambda made: made.r + made.s + bytes([27 + (made.recid or 0)]),
    "header ‖ r ‖ s, header = 39 + recid": lambda made: (
        bytes([39 + (made.recid or 0)]) + made.r + made.s
    ),
    "DER of r and s": lambda made: der(made.r + made.s),
    "01 40 ‖ r ‖ s": lambda made: b"\x01\x40" + made.r + made.s,
    "r ‖ s": lambda made: made.r + made.s,
    "R ‖ S": lambda made: made.r + made.s,
}
CONTENT = bytes(range(32))


def request_of(kind: str, digest: str) -> SignRequest:
    if kind == "Hash":
        return SignHash(kind="Hash", hash=CONTENT)
    if kind == "Transaction":
        return SignTransaction(kind="Transaction", transaction=CONTENT)
    function = HashFunction.SHA3_256 if digest.startswith("`hash_function`") else None
    return SignMessage(kind="Message", message="0x" + CONTENT.hex(), hash_function=function)


def sign(algorithm: Algorithm, digest: bytes | None) -> tuple[bytes, bytes]:
    """A public key and its raw signature."""
    if algorithm == SCHNORR_SECP256K1:
        assert digest is not None
        return X_ONLY, PrivateKey.from_int(SECRET).sign_schnorr(digest)
    if digest is None:
        edwards = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([SECRET] * 32))
        return edwards.public_key().public_bytes_raw(), edwards.sign(CONTENT)
    if algorithm == ECDSA_SECP256K1:
        key = PrivateKey.from_int(SECRET)
        return key.public_key.format(), key.sign_recoverable(digest, hasher=None)[:64]
    private_key = ec.derive_private_key(SECRET, ec.SECP256R1())
    signed = private_key.sign(digest, ec.ECDSA(utils.Prehashed(SHA256())))
    r, s = utils.decode_dss_signature(signed)
    numbers = private_key.public_key().public_numbers()
    public_key = bytes([2 + numbers.y % 2]) + numbers.x.to_bytes(32)
    return public_key, r.to_bytes(32) + s.to_bytes(32)


def test_the_table_has_every_kind_of_every_key_once():
    assert [(key, kind) for key, kind, _, _ in ROWS] == [
        (key, kind)
        for key in KEYS
        for kind in ("Hash", "Message", "Transaction")
        if kind != "Transaction" or key == "Solana wallet"
    ]


@pytest.mark.parametrize(("key", "kind", "digest_text", "encoded_text"), ROWS)
def test_a_row_of_the_table_is_what_is_signed_and_how_it_leaves(
    key, kind, digest_text, encoded_text
):
    algorithm, network = KEYS[key]
    request = request_of(kind, digest_text)
    if digest_text == "422 `not_signable`":
        with pytest.raises(NotSignable):
            digest_of(request, algorithm, network, X_ONLY)
        return
    digest = digest_of(request, algorithm, network, X_ONLY)
    assert digest == DIGESTS[digest_text](CONTENT)
    public_key, raw = sign(algorithm, digest)
    made: SignatureResult = finish(raw, public_key, algorithm, network, request, digest)
    assert made.encoded == ENCODED[encoded_text](made)
    assert (made.recid is not None) == (algorithm == ECDSA_SECP256K1)


# The nodes' codes

CODE_ROW = re.compile(r"^\| `(\w+)` \| (REFUSED|DENIED|FAILED)(, transient)? \|", re.MULTILINE)


NODE_PACKAGES = (
    custody.node,
    hsm_driver,
    mpc.bans,
    mpc.ceremonies,
    mpc.handlers,
    mpc.imports,
    mpc.layer4,
    mpc.restored,
    mpc.shares,
)
NAMED_CODES = {"APPROVAL_PENDING": APPROVAL_PENDING}


def codes_of_the_nodes() -> Iterator[tuple[str, str, bool]]:
    """(code, status, transient) of every outcome that a node's source can end a job with."""
    sources = (Path(str(package.__file__)).parent.glob("*.py") for package in NODE_PACKAGES)
    for path in chain.from_iterable(sources):
        for call in ast.walk(ast.parse(path.read_text())):
            match call:
                case ast.Call(
                    func=ast.Name(id="Refused" | "Denied" | "Failed" as name),
                    args=[ast.Constant(value=str(code)) | ast.Name(id=code), *_],
                    keywords=keywords,
                ):
                    code = NAMED_CODES.get(code, code)
                    yield code, name.upper(), any(each.arg == "transient" for each in keywords)
    for kind in BY_CODE.values():
        # the driver refuses such a job, so that another driver takes it
        is_elsewhere = kind in (MasterKeyMissing, ImportKeyMissing)
        yield kind.code, "REFUSED" if is_elsewhere else "FAILED", kind.transient


def test_every_code_of_the_nodes_is_in_the_document_and_no_other():
    documented = {
        (code, status, bool(transient)) for code, status, transient in CODE_ROW.findall(TEXT)
    }
    assert documented == set(codes_of_the_nodes())


# The delivery servers' codes

DELIVERY_ROW = re.compile(r"^\| (\d{3}) \| `(\w+)` \| .+? \| `(\w+)` \|$", re.MULTILINE)


def test_every_code_of_a_delivery_server_is_in_the_document_with_its_status():
    documented = {(code, int(status)) for status, code, _ in DELIVERY_ROW.findall(TEXT)}
    assert documented == {(code.value, status) for code, status in STATUS.items()}


@pytest.mark.parametrize(("status", "code", "outcome"), DELIVERY_ROW.findall(TEXT))
def test_a_signer_takes_a_delivery_servers_code_as_documented(status, code, outcome):
    problem = DeliveryProblem(code=DeliveryCode(code), detail="", signer="signer-3")
    raised = problem_of("delivery-1", problem.model_dump_json().encode())
    outcomes = {
        PeerAborted: "peer_aborted",
        CeremonyExpired: "peer_silent",
        DeliveryUnavailable: "delivery_unavailable",
        DeliveryRefused: "delivery_unavailable",
    }
    assert outcomes[type(raised)] == outcome


def test_the_codes_for_which_nobody_is_to_blame_are_documented():
    [told] = re.findall(r"does not avoid the reporting signer: (.+?)\.\n", TEXT, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", told)) == BLAMELESS


# The bytes of the delivery API


def test_the_bodies_of_the_document_are_read_back():
    ticket, messages = decode_hand_in(bytes.fromhex(BLOCKS["delivery-hand-in"]))
    assert (ticket, messages) == (None, {"signer-3": b"to three"})
    assert decode_messages(bytes.fromhex(BLOCKS["delivery-answer"])) == {"signer-3": b"from three"}
    signed, reason = decode_abort(bytes.fromhex(BLOCKS["delivery-abort"]))
    pinned = PinnedKeys([JOB_SIGNER.public_key])
    ticket_payload = pinned.open(DELIVERY_TICKET_TYPE, signed)
    assert json.loads(ticket_payload) == json.loads(BLOCKS["delivery-ticket"])
    assert reason == signer_examples.ABORT_REASON
