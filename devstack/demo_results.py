"""The results of the demo: its table, and result.json."""

from dataclasses import dataclass
from typing import Any

from custody.client import Key, Signature, Store, Wallet
from custody.runtime.console import print_table
from devstack.progress import say

COLUMNS = ("address or public key", "of", "used in", "signature", "verified by")


@dataclass(frozen=True)
class Made:
    """A line of the table: a signature, and the wallet or bare key that made it.

    ``is_recovered``: the customer made it, with the private key from share copies.
    """

    name: str
    wallet: Wallet | None
    key: Key
    signature: Signature
    verified_by: str
    is_recovered: bool = False

    @property
    def identity(self) -> str:
        """Return the address of a wallet, or the public key of a bare key."""
        if self.wallet is not None and self.wallet.address is not None:
            return self.wallet.address
        return "0x" + (self.key.public_key or b"").hex()

    @property
    def used_in(self) -> str:
        """Return the place of the private key when it signs."""
        if self.is_recovered:
            return f"{self.key.threshold} share copies"
        if self.key.store is Store.MPC and self.key.signers is not None:
            return f"{self.key.threshold} of {len(self.key.signers)} signers"
        return self.key.protection.value if self.key.protection else "?"

    @property
    def short_signature(self) -> str:
        encoded = self.signature.signature.encoded if self.signature.signature else b""
        return f"0x{encoded.hex()[:8]}…"


def show(made: list[Made]) -> None:
    """Print a table on stdout, addresses first: they stay whole on a narrow terminal."""
    say("")
    print_table(
        COLUMNS,
        [
            (one.identity, one.name, one.used_in, one.short_signature, one.verified_by)
            for one in made
        ],
    )
    say("")


def result_of(made: list[Made]) -> dict[str, Any]:
    """Return the demo's result: bytes as 0x-hex, public keys compressed or 32 raw bytes.

    In store mpc, each of the ``signers`` holds a share, and any ``threshold`` of them sign.
    """
    wallets = {one.wallet.id: (one.wallet, one.key) for one in made if one.wallet is not None}
    keys = {one.key.id: one.key for one in made}
    return {
        "wallets": [
            _fields(wallet, "id", "network", "address", "key_id") | _fields(key, *_HELD)
            for wallet, key in wallets.values()
        ],
        "keys": [
            _fields(key, "id", "scheme", "curve", "protection", "public_key", *_HELD)
            for key in keys.values()
        ],
        "signatures": [
            _fields(one.signature, "id", "key_id", "kind", "message", "digest")
            | {"signature": _signature(one.signature)}
            for one in made
        ],
    }


_HELD = ("store", "threshold", "signers")
"""Keys that say how a private key is kept; the last two are null in HSM mode."""


def _fields(resource: Wallet | Key | Signature, *names: str) -> dict[str, Any]:
    data = resource.model_dump(mode="json", include=set(names))
    return {name: data[name] for name in names}


def _signature(signature: Signature) -> dict[str, Any] | None:
    if signature.signature is None:
        return None
    return signature.signature.model_dump(mode="json", exclude_none=True)
