"""`make demo`'s result.json, checked by somebody who was not there."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from buidl.ecc import S256Point
from coincurve import PublicKey
from cryptography.hazmat.primitives.asymmetric import ec
from eth_account import Account
from eth_account.messages import encode_defunct

from custody.client import Curve, HashFunction, Key, KeyStatus, Network, Scheme, Signature
from devstack.bip322 import check_taproot_message
from tests.second_opinion import Wanted, check_signature

ROOT = Path(__file__).parents[2]
PRINTED = "CUSTODY_DEMO_PRINTED"
"""Names a file with what `make demo` printed in this checkout."""
EPOCH = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def said() -> str:
    """What a demo prints: the one that .ci/run has just run, otherwise one of our own."""
    if PRINTED in os.environ:
        return Path(os.environ[PRINTED]).read_text()
    command = [sys.executable, "-m", "devstack", "demo"]
    done = subprocess.run(
        command, cwd=ROOT, check=True, timeout=480, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def result(said: str) -> Any:
    return json.loads((ROOT / "build" / "demo" / "result.json").read_text())


def of_store(result: Any, store: str, kind: str) -> list[Any]:
    return [one for one in result[kind] if one["store"] == store]


def test_in_the_hsm_it_has_a_wallet_of_each_network_and_the_bare_key(result):
    assert [wallet["network"] for wallet in of_store(result, "hsm", "wallets")] == [
        "Ethereum", "Bitcoin", "Solana",
        "EthereumSepolia", "BitcoinTestnet4", "BitcoinSignet", "SolanaDevnet",
    ]  # fmt: skip
    keys = of_store(result, "hsm", "keys")
    assert len(keys) == 8
    assert {(key["scheme"], key["curve"], key["protection"]) for key in keys} == {
        ("ECDSA", "secp256k1", "hsm"),
        ("ECDSA", "secp256r1", "hsm"),
        ("EdDSA", "ed25519", "host"),
    }


def test_in_shares_it_has_the_three_wallets_and_a_child(result):
    keys = {key["id"]: key for key in of_store(result, "mpc", "keys")}
    assert [
        (
            wallet["network"],
            keys[wallet["key_id"]]["scheme"],
            wallet["threshold"],
            len(wallet["signers"]),
        )
        for wallet in of_store(result, "mpc", "wallets")
    ] == [
        ("Ethereum", "ECDSA", 3, 5),
        ("Bitcoin", "Schnorr", 2, 3),
        ("Solana", "EdDSA", 2, 3),
        ("Ethereum", "ECDSA", 3, 5),
    ]
    assert {key["protection"] for key in keys.values()} == {"mpc"}
    taproot = of_store(result, "mpc", "wallets")[1]
    assert taproot["address"].startswith("bc1p")


def test_every_key_has_signed_and_the_3_of_5_one_with_signers_away_too(result):
    signed = [signature["key_id"] for signature in result["signatures"]]
    assert set(signed) == {key["id"] for key in result["keys"]}
    assert signed.count(of_store(result, "mpc", "wallets")[0]["key_id"]) == 3


def test_no_owner_alone_signs(said: str):
    groups = [line for line in said.splitlines() if ": signers of " in line]
    assert len(groups) == 2
    assert all(line.endswith("no owner alone reaches it") for line in groups)


def test_the_table_has_every_address_on_one_line(said: str, result):
    table = said[said.index("address or public key") :]
    for wallet in result["wallets"]:
        assert wallet["address"] in table


HELD = {"store", "threshold", "signers"}


def test_every_field_that_was_promised_is_there_and_no_other(result):
    for wallet in result["wallets"]:
        assert set(wallet) == {"id", "network", "address", "key_id"} | HELD
    for key in result["keys"]:
        assert set(key) == {"id", "scheme", "curve", "protection", "public_key"} | HELD
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
                "transaction": None,
                "external_id": None,
                "reason": None,
                "created_at": EPOCH,
                "expires_at": EPOCH,
            }
        )
        bare_ecdsa = key.network is None and key.scheme is Scheme.ECDSA
        function = HashFunction.SHA_256 if bare_ecdsa else None
        check_signature(key, Wanted("Message", made["message"].encode(), function), signature)


def test_every_ethereum_address_is_the_signers(result):
    wallets = {each["key_id"]: each for each in result["wallets"] if each["network"] == "Ethereum"}
    made = [each for each in result["signatures"] if each["key_id"] in wallets]
    assert len(made) == 5
    for each in made:
        message = encode_defunct(text=each["message"])
        found = Account.recover_message(message, signature=each["signature"]["encoded"])
        assert found == wallets[each["key_id"]]["address"]


def test_the_customer_signs_with_the_key_recovered_from_its_files(said: str, result):
    recovered, wallet = result["recovered"], of_store(result, "mpc", "wallets")[0]
    message = encode_defunct(text=recovered["message"])
    found = Account.recover_message(message, signature=recovered["signature"])
    assert found == recovered["address"] == wallet["address"]
    assert said.index("stopping everything") < said.index("mpc-recover signs")


def test_every_taproot_message_is_the_addresss_by_bip_322(result):
    wallets = {each["key_id"]: each for each in result["wallets"]}
    schnorr = {key["id"] for key in result["keys"] if key["scheme"] == "Schnorr"}
    made = [each for each in result["signatures"] if each["key_id"] in schnorr]
    assert made
    for each in made:
        witness = bytes.fromhex(each["signature"]["encoded"].removeprefix("0x"))
        address = wallets[each["key_id"]]["address"]
        check_taproot_message(address, each["message"].encode(), witness)


def test_the_public_keys_are_points(result):
    for key in result["keys"]:
        point = bytes.fromhex(key["public_key"].removeprefix("0x"))
        match Curve(key["curve"]):
            case Curve.SECP256K1 if key["scheme"] == "Schnorr":
                S256Point.parse_bip340(point)
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
            **dict.fromkeys(("signer_group", "generation", "root", "path", "chain_code")),
            "attestations": (),
            "name": None,
            "tags": [],
            "external_id": None,
            "reason": None,
            "created_at": EPOCH,
        }
    )
