"""The two clients: the same operations, one for threads and one for event loops."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TypedDict

from custody.client import change_operations, import_operations, operations
from custody.client.connections import DEFAULT_PATIENCE, AsyncConnection, Connection, options
from custody.client.methods import Listing, Operation
from custody.client.pinned_nodes import AttestedKeys
from custody.client.request_signing import RequestSigning, SigningKeySource
from custody.wire.attestations import PinnedNodes


class Operations:
    """The operations of both clients; the function of each one describes it."""

    create_wallet = Operation(operations.create_wallet)
    add_wallet = Operation(operations.add_wallet)
    get_wallet = Operation(operations.get_wallet)
    list_wallets = Listing(operations.list_wallets)
    update_wallet = Operation(operations.update_wallet)
    create_key = Operation(operations.create_key)
    get_key = Operation(operations.get_key)
    list_keys = Listing(operations.list_keys)
    update_key = Operation(operations.update_key)
    sign_message = Operation(operations.sign_message)
    sign_hash = Operation(operations.sign_hash)
    sign_transaction = Operation(operations.sign_transaction)
    get_signature = Operation(operations.get_signature)
    list_signatures = Listing(operations.list_signatures)
    list_nodes = Listing(operations.list_nodes)
    list_audit_records = Listing(operations.list_audit_records)
    list_audit_heads = Listing(operations.list_audit_heads)
    derive_key = Operation(operations.derive_key)
    refresh_key = Operation(change_operations.refresh_key)
    copy_key = Operation(change_operations.copy_key)
    list_copies = Listing(change_operations.list_copies)
    get_refresh = Operation(change_operations.get_refresh)
    repair_share = Operation(change_operations.repair_share)
    get_repair = Operation(change_operations.get_repair)
    archive_key = Operation(change_operations.archive_key)
    get_archival = Operation(change_operations.get_archival)
    unarchive_key = Operation(change_operations.unarchive_key)
    get_unarchival = Operation(change_operations.get_unarchival)
    create_signer_group = Operation(operations.create_signer_group)
    get_signer_group = Operation(operations.get_signer_group)
    list_signer_groups = Listing(operations.list_signer_groups)
    list_signers = Listing(operations.list_signers)
    import_wallet = Operation(import_operations.import_wallet)
    import_key = Operation(import_operations.import_key)


class Custody(Operations):
    """Client for threads: ``with Custody(url, token) as custody: custody.list_wallets()``.

    ``ca``: file with the CA that signed the service's certificate; None: those of the system.
    ``patience``: seconds of further attempts while the service is away.
    ``signing_key``: the application's own Ed25519 key, or its PEM file: every request for a key or
    a signature is signed with it, which the keys' owner may require.
    ``pinned_nodes``, or their TOML file: every wallet and key is checked against what these nodes
    attest before you get it, and NotAttested raised otherwise. None: the service is believed.
    """

    def __init__(
        self,
        url: str,
        token: str,
        ca: Path | str | None = None,
        patience: float = DEFAULT_PATIENCE,
        signing_key: SigningKeySource | None = None,
        pinned_nodes: PinnedNodes | Path | str | None = None,
    ) -> None:
        self._url = url
        signing = None if signing_key is None else RequestSigning(signing_key)
        attested = _attested(pinned_nodes, signing)
        self.connection = Connection(options(url, token, ca), patience, signing, attested)

    @classmethod
    def from_environment(cls, patience: float = DEFAULT_PATIENCE) -> "Custody":
        """Client of CUSTODY_API_URL and CUSTODY_API_TOKEN.

        Where they are set also of CUSTODY_CA, CUSTODY_SIGNING_KEY_FILE, CUSTODY_PINNED_NODES_FILE.
        """
        return cls(**_from_environment(os.environ), patience=patience)

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> "Custody":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Custody({self._url!r})"


class AsyncCustody(Operations):
    """Client for event loops: ``async with AsyncCustody(url, token) as custody: ...``.

    The same operations and parameters as Custody's, each to be awaited; lists by ``async for``.
    """

    def __init__(
        self,
        url: str,
        token: str,
        ca: Path | str | None = None,
        patience: float = DEFAULT_PATIENCE,
        signing_key: SigningKeySource | None = None,
        pinned_nodes: PinnedNodes | Path | str | None = None,
    ) -> None:
        self._url = url
        signing = None if signing_key is None else RequestSigning(signing_key)
        attested = _attested(pinned_nodes, signing)
        self.connection = AsyncConnection(options(url, token, ca), patience, signing, attested)

    @classmethod
    def from_environment(cls, patience: float = DEFAULT_PATIENCE) -> "AsyncCustody":
        """Client of CUSTODY_API_URL and CUSTODY_API_TOKEN.

        Where they are set also of CUSTODY_CA, CUSTODY_SIGNING_KEY_FILE, CUSTODY_PINNED_NODES_FILE.
        """
        return cls(**_from_environment(os.environ), patience=patience)

    async def close(self) -> None:
        await self.connection.close()

    async def __aenter__(self) -> "AsyncCustody":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncCustody({self._url!r})"


def _attested(
    pinned_nodes: PinnedNodes | Path | str | None, signing: RequestSigning | None
) -> AttestedKeys | None:
    if pinned_nodes is None:
        return None
    return AttestedKeys(pinned_nodes, None if signing is None else signing.public_key)


class _Address(TypedDict):
    url: str
    token: str
    ca: str | None
    signing_key: str | None
    pinned_nodes: str | None


def _from_environment(environment: Mapping[str, str]) -> _Address:
    missing = [name for name in ("CUSTODY_API_URL", "CUSTODY_API_TOKEN") if name not in environment]
    if missing:
        raise ValueError(f"set {' and '.join(missing)} in the environment")
    return _Address(
        url=environment["CUSTODY_API_URL"],
        token=environment["CUSTODY_API_TOKEN"],
        ca=environment.get("CUSTODY_CA"),
        signing_key=environment.get("CUSTODY_SIGNING_KEY_FILE"),
        pinned_nodes=environment.get("CUSTODY_PINNED_NODES_FILE"),
    )
