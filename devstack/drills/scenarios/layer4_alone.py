"""Control plane, delivery server and signers are gone for good. The customer moves the funds alone.

The customer has the share copies of t signers and its own key. ``mpc-recover`` signs a transaction
of each network. Another library makes each transaction, and verifies the signed one.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from buidl.ecc import S256Point, SchnorrSignature
from buidl.script import P2TRScriptPubKey
from buidl.tx import Tx, TxIn, TxOut
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from solders.hash import Hash
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction

from custody.client import AddressType, Network
from devstack.drills.application import AcknowledgedKey
from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.processes import Program, run_for_output
from devstack.service import clean_environment, command
from devstack.signer_groups import TWO_OF_THREE, create_signer_groups
from devstack.stack import StackOptions

SIGNERS = ("signer-1", "signer-3")
"""The customer has copies of these signers only: t of n."""
VALUE = 1_000_000
DESTINATION = 20 * b"\x11"

Sign = Callable[..., Any]
"""Runs `mpc-recover sign` for a wallet, with more options. Returns what it prints."""


def run(drill: Drill) -> None:
    bucket = drill.folder / "bucket"
    with drill.stack(StackOptions(drivers=0, signers=3, layer4=True)) as stack:
        application = drill.application(stack)
        with drill.step("make a wallet of each network"):
            with stack.client() as custody:
                create_signer_groups(custody, [TWO_OF_THREE])
            ethereum = application.make_wallet(Network.ETHEREUM, TWO_OF_THREE)
            bitcoin = application.make_wallet(Network.BITCOIN, TWO_OF_THREE, AddressType.P2TR)
            solana = application.make_wallet(Network.SOLANA, TWO_OF_THREE)
            application.sign_with_all()
        assert stack.customers_bucket is not None
        customer_key = stack.customers_bucket.key.private_key
        with drill.step(f"download the share copies of {' and '.join(SIGNERS)}"):
            stack.customers_bucket.download(bucket, SIGNERS)
        with drill.lose("control plane, delivery server and signers, with their databases"):
            stack.stop()

        def sign(key: AcknowledgedKey, *words: str) -> Any:
            assert key.wallet is not None
            line: list[str | Path] = ["sign", bucket, key.wallet.address or "", *words]
            line += ["--customer-key", customer_key, "--json"]
            return _recover(drill, line)

        for key, move in ((ethereum, _ethereum), (bitcoin, _taproot), (solana, _solana)):
            with drill.step(f"{key.name}: sign a transaction, and verify it"):
                drill.require(move(key, sign), f"the transaction of {key.name} is not signed")
        drill.recovered_without_service(f"{len(application.keys)} wallets, a transaction of each")


def _recover(drill: Drill, words: Sequence[str | Path]) -> Any:
    log = drill.folder / "mpc-recover.log"
    program = Program(
        "mpc-recover", [command("mpc-recover"), *words], drill.folder, log, clean_environment()
    )
    return json.loads(run_for_output(program, "recover"))


def _ethereum(key: AcknowledgedKey, sign: Sign) -> bool:
    """EIP-1559, by eth-account: the sender of the signed transaction is the wallet."""
    fields = {
        "type": 2,
        "chainId": 1,
        "nonce": 0,
        "to": DESTINATION,
        "value": VALUE,
        "gas": 21_000,
        "maxFeePerGas": 10**10,
        "maxPriorityFeePerGas": 10**9,
        "data": b"",
        "accessList": (),
    }
    digest = TypedTransaction.from_dict(fields).hash()
    said = sign(key, "--hash", "0x" + bytes(digest).hex())
    signature = {"v": said["recid"], "r": int(said["r"], 16), "s": int(said["s"], 16)}
    raw = TypedTransaction.from_dict(fields | signature).encode()
    return bool(key.wallet and Account.recover_transaction(raw) == key.wallet.address)


def _taproot(key: AcknowledgedKey, sign: Sign) -> bool:
    """BIP-341, by buidl: the signature spends a coin that was paid to the output key."""
    output_key = key.key.public_key or b""
    spent = TxIn(b"\x22" * 32, 0)
    spent._value, spent._script_pubkey = VALUE, P2TRScriptPubKey(output_key)
    paid = TxOut(VALUE - 1_000, P2TRScriptPubKey(output_key))
    transaction = Tx(2, [spent], [paid], 0, network="mainnet", segwit=True)
    digest = transaction.sig_hash_bip341(0)
    said = sign(key, "--hash", "0x" + digest.hex())
    signature = SchnorrSignature.parse(bytes.fromhex(said["encoded"].removeprefix("0x")))
    return bool(S256Point.parse_bip340(output_key).verify_schnorr(digest, signature))


def _solana(key: AcknowledgedKey, sign: Sign) -> bool:
    """Verify by solders: the transaction with its signature."""
    payer = Pubkey.from_bytes(key.key.public_key or b"")
    paid = TransferParams(from_pubkey=payer, to_pubkey=Pubkey.new_unique(), lamports=VALUE)
    message = Message.new_with_blockhash([transfer(paid)], payer, Hash.new_unique())
    said = sign(key, "--transaction", "0x" + bytes(message).hex())
    signature = Signature.from_bytes(bytes.fromhex(said["encoded"].removeprefix("0x")))
    transaction = Transaction.populate(message, [signature])
    transaction.verify()  # raises an error for a wrong signature
    return transaction.is_signed()


SCENARIO = Scenario("10", "Everything but the customer's files and key is lost", run)
