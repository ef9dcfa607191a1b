"""`make demo`: wallets are created, messages signed, and everything verified by other libraries."""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from control_plane.client import (
    Curve,
    Custody,
    HashFunction,
    Key,
    Network,
    Protection,
    Scheme,
    Signature,
    Wallet,
)
from daemon.console import out
from devstack.progress import say, step
from devstack.stack import Stack
from devstack.verification import verify_message, verify_wallet

WIDTH = 120
"""Columns of the table where nobody says how many there are."""

MESSAGE = "Hello from {name}: signed by a key that only the HSM can unwrap"
HOST_MESSAGE = "Hello from {name}: signed on the host, by a key that the HSM decrypts for it"


@dataclass(frozen=True)
class Made:
    """What one line of the demo's table is about."""

    name: str
    wallet: Wallet | None
    key: Key
    signature: Signature
    verified_by: str

    @property
    def identity(self) -> str:
        """Address of a wallet, else the public key."""
        if self.wallet is not None and self.wallet.address is not None:
            return self.wallet.address
        return "0x" + (self.key.public_key or b"").hex()

    @property
    def short_signature(self) -> str:
        encoded = self.signature.signature.encoded if self.signature.signature else b""
        return f"0x{encoded.hex()[:8]}…"


def demo(folder: Path) -> Path:
    """Run the demo in a folder that it empties first; returns the result's path.

    Raises OperatorError, CustodyError or NotVerified.
    """
    with _alone(folder):
        shutil.rmtree(folder, ignore_errors=True)
        stack = Stack(folder, step=step)
        say("Starting everything on this machine")
        try:
            stack.start()
            say("Creating wallets and keys, signing a message with each, verifying")
            with stack.client() as custody:
                made = [_make(custody, network) for network in (*Network, None)]
            result = folder / "result.json"
            result.write_text(json.dumps(result_of(made), indent=2) + "\n")
            _show(made)
        finally:
            with step("stopping everything"):
                stack.stop()
    say(f"Every address and signature holds. Written: {result}")
    return result


def _make(custody: Custody, network: Network | None) -> Made:
    """Create a wallet (or, without a network, a P-256 key), sign with it, and verify."""
    name = f"{network.value} wallet" if network else "P-256 key"
    with step(f"{name}: create"):
        wallet = custody.create_wallet(network) if network else None
        key = custody.get_key(wallet.key_id) if wallet else _create_p256(custody)
    by = verify_wallet(wallet, key) if wallet else ""
    template = HOST_MESSAGE if key.protection is Protection.HOST else MESSAGE
    message = template.format(name=network.value if network else "P-256")
    with step(f"{name}: sign {message!r}"):
        hash_function = None if network else HashFunction.SHA_256
        signature = custody.sign_message(key.id, message, hash_function=hash_function)
    with step(f"{name}: verify"):
        address = wallet.address if wallet else None
        by_message = verify_message(message, signature, key, address)
    libraries = dict.fromkeys(text for text in f"{by}, {by_message}".split(", ") if text)
    return Made(name, wallet, key, signature, ", ".join(libraries))


def _create_p256(custody: Custody) -> Key:
    return custody.create_key(Scheme.ECDSA, Curve.SECP256R1)


def _show(made: list[Made]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("what", "address or public key", "used in", "signature", "verified by"):
        table.add_column(column, overflow="fold")
    for one in made:
        protection = one.key.protection.value if one.key.protection else "?"
        table.add_row(one.name, one.identity, protection, one.short_signature, one.verified_by)
    say("")
    (out if out.is_terminal else Console(width=WIDTH)).print(table)
    say("")


def result_of(made: list[Made]) -> dict[str, Any]:
    """The demo's result: bytes as 0x-hex, public keys compressed or 32 raw bytes."""
    return {
        "wallets": [
            _fields(one.wallet, "id", "network", "address", "key_id") for one in made if one.wallet
        ],
        "keys": [
            _fields(one.key, "id", "store", "scheme", "curve", "protection", "public_key")
            for one in made
        ],
        "signatures": [
            _fields(one.signature, "id", "key_id", "kind", "message", "digest")
            | {"signature": _signature(one.signature)}
            for one in made
        ],
    }


def _fields(resource: Wallet | Key | Signature, *names: str) -> dict[str, Any]:
    data = resource.model_dump(mode="json", include=set(names))
    return {name: data[name] for name in names}


def _signature(signature: Signature) -> dict[str, Any] | None:
    if signature.signature is None:
        return None
    return signature.signature.model_dump(mode="json", exclude_none=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One demo at a time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
