"""`make demo`'s result.json, checked by somebody who was not there."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from coincurve import PublicKey
from cryptography.hazmat.primitives.asymmetric import ec
from eth_account import Account
from eth_account.messages import encode_defunct

from control_plane.client import Curve, HashFunction, Key, KeyStatus, Network, Scheme, Signature
from tests.second_opinion import Wanted, check_signature

ROOT = Path(__file__).parents[2]
EPOCH = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def result() -> Any:
    subprocess.run([sys.executable, "-m", "devstack", "demo"], cwd=ROOT, check=True, timeout=240)
    return json.loads((ROOT / "build" / "demo" / "result.json").read_text())


def test_it_has_the_three_wallets_and_the_bare_key(result):
    assert [wallet["network"] for wallet in result["wallets"]] == [
        "Ethereum", "Bitcoin", "Solana",
    ]  # fmt: skip
    assert len(result["keys"]) == 4
    assert {(key["scheme"], key["curve"], key["protection"]) for key in result["keys"]} == {
        ("ECDSA", "secp256k1", "hsm"),
        ("ECDSA", "secp256r1", "hsm"),
        ("EdDSA", "ed25519", "host"),
    }
    assert {signature["key_id"] for signature in result["signatures"]} == {
        key["id"] for key in result["keys"]
    }


def test_every_field_that_was_promised_is_there_and_no_other(result):
    for wallet in result["wallets"]:
        assert set(wallet) == {"id", "network", "address", "key_id"}
    for key in result["keys"]:
        assert set(key) == {"id", "store", "scheme", "curve", "protection", "public_key"}
    for signature in result["signatures"]:
        assert set(signature) == {"id", "key_id", "kind", "message", "digest", "signature"}


def test_every_signature_verifies(result):
    networks = {wallet["key_id"]: wallet["network"] for wallet in result["wallets"]}
    keys = {key["id"]: key for key in result["keys"]}
    for made in result["signatures"]:
        key = _key(keys[made["key_id"]], networks.get(made["key_id"]))
        signature = Signature.model_validate(
            {
                **made,
                "status": "Signed",
                "external_id": None,
                "reason": None,
                "created_at": EPOCH,
                "expires_at": EPOCH,
            }
        )
        bare_ecdsa = key.network is None and key.scheme is Scheme.ECDSA
        function = HashFunction.SHA_256 if bare_ecdsa else None
        check_signature(key, Wanted("Message", made["message"].encode(), function), signature)


def test_the_ethereum_address_is_the_signers(result):
    wallet = result["wallets"][0]
    made = next(each for each in result["signatures"] if each["key_id"] == wallet["key_id"])
    message = encode_defunct(text=made["message"])
    assert (
        Account.recover_message(message, signature=made["signature"]["encoded"])
        == wallet["address"]
    )


def test_the_public_keys_are_points(result):
    for key in result["keys"]:
        point = bytes.fromhex(key["public_key"].removeprefix("0x"))
        match Curve(key["curve"]):
            case Curve.SECP256K1:
                PublicKey(point)
            case Curve.SECP256R1:
                ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            case Curve.ED25519:
                assert len(point) == 32


def _key(key: dict, network: str | None) -> Key:
    return Key.model_validate(
        {
            **key,
            "status": KeyStatus.ACTIVE,
            "network": network and Network(network),
            "external_id": None,
            "reason": None,
            "created_at": EPOCH,
        }
    )
