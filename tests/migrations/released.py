"""A dump of a release, restored into databases of a test and migrated to this version's schema."""

import shutil
import subprocess
from pathlib import Path

from custody.migrations.schema import migrate
from devstack import configuration_file
from devstack.configuration_file import Sections, Table
from devstack.postgres import Cluster, find_binaries
from devstack.released import RELEASED
from softhsm.tokens import CONFIGURATION, find_module

RELEASES = sorted(path.name for path in RELEASED.iterdir())
TREES = {
    "control_plane": "control_plane",
    "hsm_driver": "hsm_driver",
    "signer-1": "mpc_signer",
    "signer-2": "mpc_signer",
}
"""The tree of each database of a dump."""
NOWHERE = "https://localhost:1"


class Released:
    """A release's databases at the head of their trees, with the keys and configurations."""

    def __init__(self, release: str, folder: Path, cluster: Cluster) -> None:
        self.folder = folder / "released"
        self._names = {name: f"{folder.parent.name}_{name}".replace("-", "_") for name in TREES}
        self._cluster = cluster
        shutil.copytree(RELEASED / release, self.folder)
        for path in self.folder.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        self.urls = {name: self._restored(name) for name in TREES}
        tokens = self.folder / "token" / "tokens"
        self.softhsm = self.folder / "token" / "softhsm2.conf"
        self.softhsm.write_text(CONFIGURATION.format(tokens=tokens))

    def _restored(self, name: str) -> str:
        url = self._cluster.create_database(self._names[name])
        psql: list[str | Path] = [
            find_binaries() / "psql",
            "--quiet",
            "--no-psqlrc",
            "--set=ON_ERROR_STOP=1",
        ]
        file = self.folder / f"{name}.sql"
        subprocess.run([*psql, "--dbname", url, "--file", file], check=True, capture_output=True)
        return url

    def migrate(self) -> None:
        for name, tree in TREES.items():
            migrate(tree, self.urls[name])

    def drop(self) -> None:
        for name in self._names.values():
            self._cluster.drop_database(name)

    def driver(self) -> Path:
        """Return the configuration of the driver."""
        hsm: Table = {
            "module": find_module(),
            "token_label": "custody",
            "pin_file": self.folder / "token" / "custody.pin",
            "host_signing": ["EdDSA/ed25519"],
            "workers": 1,
        }
        return self._node("hsm-driver", "hsm_driver", {"hsm": hsm})

    def signer(self, name: str) -> Path:
        """Return the configuration of a signer."""
        own: Sections = {
            "encryption": {"key_file": self.folder / f"{name}.key"},
            "delivery": [{"name": "delivery-1", "url": NOWHERE, "ca": "ca.pem"}],
        }
        return self._node(name, name, own)

    def _node(self, name: str, database: str, own: Sections) -> Path:
        config = self.folder / f"{name}.toml"
        tls = {"ca": "ca.pem", "certificate": "node.pem", "private_key": "node-key.pem"}
        common: Sections = {
            "node": {"id": name, "group": "g", "state_directory": self.folder / name},
            "control_plane": {"url": NOWHERE, "job_signing_keys": ["AAAA"], **tls},
            "database": {"url": self.urls[database]},
            "identity": {"private_key": self.folder / f"{name}.pem"},
        }
        configuration_file.write(config, {**common, **own})
        return config
