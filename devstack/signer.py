"""mpc-signer processes: encryption key, peers, delivery servers; node.py has the other parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from custody.database.pool import Pool
from custody.node.freeze import Freeze
from devstack.certificates import Leaf
from devstack.configuration_file import Sections
from devstack.delivery import DeliveryServer
from devstack.launcher import Launcher
from devstack.node import Node, Surroundings
from mpc.peers import Peers
from mpc.shares.encryption_key import create_key_file


@dataclass(frozen=True)
class SignerOptions:
    """``slots``: ceremonies at once. ``min_threshold``: lowest threshold of accepted groups.

    ``more``: further sections of the configuration, for example [gate].
    """

    group: str = "mpc"
    slots: int = 64
    min_threshold: int = 2
    more: Sections | None = None


class Signer(Node):
    """One signer. ``owner``: the organisation that runs it, as the control plane records."""

    def __init__(
        self, node_id: str, owner: str, folder: Path, log: Path, launcher: Launcher
    ) -> None:
        super().__init__("mpc-signer", node_id, folder, log, launcher)
        self.owner = owner
        self.database_url = ""

    def configure(
        self,
        surroundings: Surroundings,
        leaf: Leaf,
        options: SignerOptions,
        delivery_servers: Sequence[DeliveryServer],
    ) -> None:
        """Write the configuration, and the identity and encryption keys that do not exist yet."""
        self.database_url = surroundings.database_url
        key_file = self.folder / "encryption.key"
        own: Sections = {
            "encryption": {"key_file": key_file},
            "quorum": {"min_threshold": options.min_threshold},
            "delivery": [
                {"name": server.name, "url": server.url, "ca": leaf.ca}
                for server in delivery_servers
            ],
            **(options.more or {}),
        }
        self.write_configuration(surroundings, leaf, options.group, options.slots, own)
        if not key_file.exists():
            create_key_file(key_file)

    async def pin(self, peers: Mapping[str, bytes]) -> None:
        """Pin identity public keys by signer, as `mpc-signer peers add` does for one signer."""
        async with Pool(self.database_url, 1, "devstack") as pool:
            pinned = Peers(pool)
            for signer, public_key in peers.items():
                await pinned.add(signer, public_key)

    def freeze(self, reason: str) -> None:
        """Freeze the signer, as `mpc-signer freeze` does: no signature leaves it any more."""
        self._freeze.freeze(reason)

    def unfreeze(self) -> None:
        self._freeze.unfreeze()

    @property
    def _freeze(self) -> Freeze:
        return Freeze(self.folder / "state")
