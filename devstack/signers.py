"""The MPC side of a stack: delivery servers, and signers that trust each other's pinned keys."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Protocol

from devstack.certificates import Certificates
from devstack.customers_bucket import CustomersBucket
from devstack.delivery import DeliveryOptions, DeliveryServer
from devstack.launcher import Launcher
from devstack.node import Surroundings
from devstack.service import Service
from devstack.signer import Signer, SignerOptions


class SignersOptions(Protocol):
    """``signers``: the number of signers; they belong to ``owners`` in turn."""

    @property
    def signers(self) -> int: ...
    @property
    def delivery_servers(self) -> int: ...
    @property
    def owners(self) -> Sequence[str]: ...
    @property
    def send_audit_records(self) -> bool: ...
    @property
    def signer(self) -> SignerOptions: ...
    @property
    def delivery(self) -> DeliveryOptions: ...


class Signers:
    """All signers of a stack, and the delivery servers where they meet."""

    def __init__(
        self,
        options: SignersOptions,
        folder: Path,
        log: Callable[[str], Path],
        launcher: Launcher,
    ) -> None:
        self._options = options
        servers = options.delivery_servers if options.signers else 0
        self.delivery_servers = [
            DeliveryServer(name, folder / name, log(name), launcher)
            for name in _names("delivery", servers)
        ]
        self.all = [
            Signer(name, owner, folder / name, log(name), launcher)
            for name, owner in zip(_names("signer", options.signers), cycle(options.owners))
        ]

    def configure(
        self,
        node_urls: Sequence[str],
        job_signing_key: str,
        database_urls: Sequence[str],
        certificates: Certificates,
        customers_bucket: CustomersBucket | None = None,
    ) -> None:
        """Write all configurations, certificates and keys; signers use the node APIs in turn.

        With a customer's bucket, the signers have Layer 4 on.
        """
        for server in self.delivery_servers:
            leaf = certificates.server(server.name)
            server.configure(job_signing_key, leaf, self._options.delivery)
        for signer, node_url, database_url in zip(self.all, cycle(node_urls), database_urls):
            surroundings = Surroundings(
                node_url, job_signing_key, database_url, self._options.send_audit_records
            )
            leaf = certificates.node(signer.node_id)
            options = self._options.signer
            if customers_bucket is not None:
                layer4 = {"layer4": customers_bucket.section(signer.node_id)}
                options = replace(options, more={**(options.more or {}), **layer4})
            signer.configure(surroundings, leaf, options, self.delivery_servers)

    def pin_each_other(self) -> None:
        """Pin all other signers at every signer. The databases must be migrated before."""
        identities = {signer.node_id: signer.identity_public_key for signer in self.all}

        async def pin() -> None:
            for signer in self.all:
                peers = {name: key for name, key in identities.items() if name != signer.node_id}
                await signer.pin(peers)

        asyncio.run(pin())

    def __getitem__(self, node_id: str) -> Signer:
        return next(signer for signer in self.all if signer.node_id == node_id)

    def by_owner(self) -> dict[str, list[Signer]]:
        return {
            owner: [signer for signer in self.all if signer.owner == owner]
            for owner in dict.fromkeys(signer.owner for signer in self.all)
        }

    @property
    def services(self) -> list[Service]:
        """Return the services in the order of their start."""
        return [*self.delivery_servers, *self.all]


def _names(kind: str, count: int) -> list[str]:
    """Return names with numbers: signer-1, signer-2 and so on."""
    return [f"{kind}-{number}" for number in range(1, count + 1)]
