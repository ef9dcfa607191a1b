"""What applications were told: every key, wallet and signature, to compare with what is left.

Only what an application was told counts. A request without an answer is sent again under its
external id, and a lost request that nobody was told about is not a loss.
"""

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from custody.client import (
    AddressType,
    Curve,
    Custody,
    CustodyError,
    HashFunction,
    Key,
    Network,
    Scheme,
    Signature,
    Store,
    Wallet,
)
from custody.wire.algorithms import MAIN_NETWORKS
from devstack.verification import NotVerified, verify_message, verify_wallet

Connect = Callable[[], Custody]

THREADS = 4
SIGN_SECONDS = 60.0
WALLET_EVERY = 4
"""Under load, one request in so many makes a wallet; the others sign."""


@dataclass(frozen=True)
class AcknowledgedKey:
    """A key, and its wallet unless it is a bare key, as an application was told."""

    key: Key
    wallet: Wallet | None

    @property
    def name(self) -> str:
        if self.wallet is not None:
            return f"{self.wallet.network.value} wallet {self.wallet.address}"
        return f"key {self.key.id}"


class Application:
    """Makes keys and signatures as an application does, and remembers all that it was told.

    ``connect`` opens a client; each thread has a client of its own.
    """

    def __init__(self, connect: Connect) -> None:
        self.connect = connect
        self._lock = threading.Lock()
        self._keys: list[AcknowledgedKey] = []
        self._signatures: list[Signature] = []

    @property
    def keys(self) -> Sequence[AcknowledgedKey]:
        with self._lock:
            return list(self._keys)

    @property
    def signatures(self) -> Sequence[Signature]:
        with self._lock:
            return list(self._signatures)

    def make_wallet(
        self,
        network: Network,
        signer_group: str | None = None,
        address_type: AddressType | None = None,
    ) -> AcknowledgedKey:
        """Create a wallet; with ``signer_group`` of store mpc. Verify its address."""
        with self.connect() as custody:
            store = Store.HSM if signer_group is None else Store.MPC
            wallet = custody.create_wallet(
                network, store, signer_group=signer_group, address_type=address_type
            )
            return self._told_wallet(custody, wallet)

    def make_key(self) -> AcknowledgedKey:
        """Create a bare key of store hsm (ECDSA on P-256)."""
        with self.connect() as custody:
            made = AcknowledgedKey(custody.create_key(Scheme.ECDSA, Curve.SECP256R1), None)
        with self._lock:
            self._keys.append(made)
        return made

    def make_hsm_keys(self) -> list[AcknowledgedKey]:
        """Create a wallet of each main network and a bare key, all of store hsm."""
        return [*(self.make_wallet(network) for network in MAIN_NETWORKS), self.make_key()]

    def moved(self, old: AcknowledgedKey, copy: Key) -> AcknowledgedKey:
        """Sign for a wallet with a copy of its key from now on. Verify that its address stays."""
        assert old.wallet is not None
        with self.connect() as custody:
            wallet = custody.get_wallet(old.wallet.id)
        verify_wallet(wallet, copy)
        if wallet.address != old.wallet.address:
            raise NotVerified(f"{old.name} has another address now: {wallet.address}")
        made = AcknowledgedKey(copy, wallet)
        with self._lock:
            self._keys = [made if each is old else each for each in self._keys]
        return made

    def sign(
        self,
        acknowledged: AcknowledgedKey,
        message: str = "before the loss",
        wait: float = SIGN_SECONDS,
    ) -> Signature:
        """Sign a message and verify the signature with another library.

        Raise CustodyError or NotVerified.
        """
        with self.connect() as custody:
            return self._sign(custody, acknowledged, message, wait)

    def sign_with_all(self, message: str = "before the loss") -> list[Signature]:
        return [self.sign(acknowledged, message) for acknowledged in self.keys]

    def _sign(
        self,
        custody: Custody,
        acknowledged: AcknowledgedKey,
        message: str,
        wait: float = SIGN_SECONDS,
    ) -> Signature:
        hashing = None if acknowledged.wallet else HashFunction.SHA_256
        signature = custody.sign_message(
            acknowledged.key.id, message, hash_function=hashing, wait=wait
        )
        return self.verified(acknowledged, message, signature)

    def verified(
        self, acknowledged: AcknowledgedKey, message: str, signature: Signature
    ) -> Signature:
        """Verify a signature of a message, and remember it. Raise NotVerified."""
        address = acknowledged.wallet.address if acknowledged.wallet else None
        verify_message(message, signature, acknowledged.key, address)
        with self._lock:
            self._signatures.append(signature)
        return signature

    def _told_wallet(self, custody: Custody, wallet: Wallet) -> AcknowledgedKey:
        key = custody.get_key(wallet.key_id)
        verify_wallet(wallet, key)
        made = AcknowledgedKey(key, wallet)
        with self._lock:
            self._keys.append(made)
        return made

    @contextmanager
    def load(self, clients: int = THREADS) -> Iterator[None]:
        """Keep ``clients`` requests in flight meanwhile. An error of a client is raised at the end.

        There must be a key of store hsm already.
        """
        stop = threading.Event()
        with ThreadPoolExecutor(clients) as threads:
            running = [threads.submit(self._client, number, stop) for number in range(clients)]
            try:
                yield
            finally:
                stop.set()
            for each in running:
                each.result()

    def _client(self, number: int, stop: threading.Event) -> None:
        keys = self.keys
        networks = MAIN_NETWORKS
        with self.connect() as custody:
            turn = number
            while not stop.is_set():
                turn += 1
                if turn % WALLET_EVERY == 0:
                    network = networks[turn // WALLET_EVERY % len(networks)]
                    self._told_wallet(custody, custody.create_wallet(network))
                else:
                    self._sign(custody, keys[turn % len(keys)], f"load {uuid.uuid4()}")

    def losses(self, connect: Connect | None = None) -> list[str]:
        """Return what was told and is lost now; an empty list if nothing is lost.

        Each key, wallet and signature must be there as it was told. Each key must sign once more,
        and another library must verify that signature. ``connect``: another client.
        """
        if connect is not None:
            self.connect = connect
        keys, signatures = self.keys, self.signatures
        with ThreadPoolExecutor(THREADS) as threads:
            lost = [
                *threads.map(self._lost_key, keys),
                *threads.map(self._lost_signature, signatures),
            ]
        return [each for each in lost if each is not None]

    def _lost_key(self, acknowledged: AcknowledgedKey) -> str | None:
        with self.connect() as custody:
            try:
                key = custody.get_key(acknowledged.key.id)
                if _lasting(key) != _lasting(acknowledged.key):
                    return f"{acknowledged.name}: its key is another one now"
                if acknowledged.wallet is not None:
                    wallet = custody.get_wallet(acknowledged.wallet.id)
                    if _lasting(wallet) != _lasting(acknowledged.wallet):
                        return f"{acknowledged.name}: the wallet is another one now"
                self._sign(custody, acknowledged, "after the loss")
            except (CustodyError, NotVerified) as error:
                return f"{acknowledged.name}: {type(error).__name__}: {error}"
        return None

    def _lost_signature(self, acknowledged: Signature) -> str | None:
        with self.connect() as custody:
            try:
                found = custody.get_signature(acknowledged.key_id, acknowledged.id)
            except CustodyError as error:
                return f"signature {acknowledged.id}: {type(error).__name__}: {error}"
        return None if found == acknowledged else f"signature {acknowledged.id} is another one now"


CHANGING = {"generation", "attestations", "archived_at", "copies"}
"""Fields that a refresh, a repair, the archival or the copy of a key changes."""


def _lasting(shown: Key | Wallet) -> dict[str, object]:
    return shown.model_dump(exclude=CHANGING)
