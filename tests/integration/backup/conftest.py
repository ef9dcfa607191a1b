"""A driver's host with a real database and a real token, to make backups of."""

import asyncio
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID, uuid4

import pyrage
import pytest

from custody.backup.creation import create
from custody.backup.daemon import Daemon
from custody.backup.verification import Verification, verify
from custody.database.pool import Pool
from custody.node.audit import AuditChain, AuditRecord
from custody.node.identity import load_identity
from custody.node.journal import Commit, Journal
from custody.pkcs11.administration import administration
from custody.runtime.configuration import read_settings, write_secret
from custody.runtime.signing_key import create_signing_key
from custody.wire.algorithms import ECDSA_SECP256K1
from custody.wire.outcomes import Outcome, OutcomeStatus
from devstack.postgres import Cluster
from devstack.service import command
from hsm_driver.backup import daemon_of
from hsm_driver.configuration import NewDriver, new_configuration
from hsm_driver.driver import open_hsm
from hsm_driver.settings import DriverSettings, hsm_settings
from hsm_driver.vault import Vault, row_of
from softhsm.tokens import TokenFolder
from tests.adopter import adopt_first
from tests.commands import run_command

LABEL = "backup"
KEYS = 3


class Progress:
    """Keeps the last amount of each step."""

    def __init__(self) -> None:
        self.last: dict[str, tuple[int, int | None, bool]] = {}

    def __call__(
        self, step: str, done: int, total: int | None, /, *, is_bytes: bool = False
    ) -> None:
        self.last[step] = (done, total, is_bytes)


def no_progress(*_: object, is_bytes: bool = False) -> None:
    pass


@dataclass(frozen=True)
class DriverHost:
    """A driver's configuration, and the private keys of two recipients on other hosts."""

    config: Path
    url: str
    identity: Path
    stranger: Path

    @property
    def settings(self) -> DriverSettings:
        return read_settings(self.config, DriverSettings)

    @property
    def daemon(self) -> Daemon:
        return daemon_of(self.settings, self.config)

    def with_folder(self, folder: Path) -> Daemon:
        """The same host, with another folder for backups and for its state."""
        section = self.daemon.section.model_copy(update={"folder": folder / "backups"})
        return replace(self.daemon, section=section, state_directory=folder / "state")


def age_key(path: Path) -> str:
    """Write a private key as age-keygen does, and return its public key."""
    key = pyrage.x25519.Identity.generate()
    write_secret(path, f"# created: today\n{key}\n".encode())
    return str(key.to_public())


async def fill(settings: DriverSettings, url: str) -> list[UUID]:
    """Make keys as the driver does: outcome, key row and audit record in one transaction."""
    made = []
    signer = load_identity(settings.identity.private_key)
    async with Pool(url, 2, "test") as pool, open_hsm(settings) as hsm:
        vault = Vault(pool, hsm)
        await adopt_first(vault, pool)
        journal = Journal(pool, settings.node.id, AuditChain(pool, settings.node.id, signer))
        for _ in range(KEYS):
            key_id = uuid4()
            key = await vault.generate(ECDSA_SECP256K1)
            await journal.commit(commit_of_key(key_id, settings.node.id, key))
            made.append(key_id)
    return made


def commit_of_key(key_id: UUID, node: str, key) -> Commit:
    outcome = Outcome(job_id=key_id, node=node, status=OutcomeStatus.DONE)
    facts: dict[str, str | None] = {
        "public_key": key.public_key.hex(),
        "scheme": key.algorithm.scheme.value,
        "curve": key.algorithm.curve.value,
        "network": None,
    }

    def record(outcome_digest: bytes) -> AuditRecord:
        return AuditRecord(
            key_id, "GenerateKey", key_id, bytes(32), "DONE", None, outcome_digest, facts
        )

    return Commit(key_id, bytes(32), outcome, record, [row_of(key_id, None, key)])


@pytest.fixture(scope="session")
def driver_host(
    postgres: Cluster, driver_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DriverHost]:
    """A driver with three keys. Tests of this folder do not change its database."""
    folder = tmp_path_factory.mktemp("driver")
    tokens = TokenFolder(folder / "token")
    tokens.make(LABEL)
    name = f"test_{secrets.token_hex(6)}"
    url = postgres.create_database(name, driver_template)
    config = folder / "hsm-driver.toml"
    text = new_configuration(
        NewDriver(
            node="zurich-1",
            job_signing_keys=["AAAA"],
            database_url=url,
            health_port=0,
            module=tokens.module,
            token_label=LABEL,
            pin_file=tokens.pin_file(LABEL),
        )
    )
    recipients = [age_key(folder / "recipient"), age_key(folder / "second")]
    age_key(folder / "stranger")
    text = text.replace("recipients = []", f"recipients = {recipients}".replace("'", '"'))
    write_secret(config, text.replace("# workers = 2", "workers = 1").encode())
    create_signing_key(folder / "identity.pem")
    (folder / "tls").mkdir()
    for file in ("tls/ca.pem", "tls/certificate.pem", "tls/private_key.pem"):
        (folder / file).write_text(f"the contents of {file}")
    host = DriverHost(config, url, folder / "recipient", folder / "stranger")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(tokens.configuration))
        asyncio.run(_prepare(host))
        yield host
    postgres.drop_database(name)


async def _prepare(host: DriverHost) -> None:
    async with administration(hsm_settings(host.settings)) as token:
        await token.make_master_key(rewrappable=False, extractable=False)
    await fill(host.settings, host.url)


@pytest.fixture(scope="session")
def made_backup(driver_host: DriverHost, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good backup, for tests that copy it."""
    daemon = driver_host.with_folder(tmp_path_factory.mktemp("made"))
    return create(daemon, no_progress).path


@pytest.fixture
def daemon(driver_host: DriverHost, tmp_path: Path) -> Daemon:
    """The driver, with a folder for backups and a state directory of this test's own."""
    return driver_host.with_folder(tmp_path)


@pytest.fixture
def backup(made_backup: Path, daemon: Daemon) -> Path:
    """A copy of a good backup, this test's to damage."""
    daemon.section.folder.mkdir()
    return Path(shutil.copy2(made_backup, daemon.section.folder / made_backup.name))


def restore_by_command(
    program: str, config: Path, url: str, empty: str, file: Path, *words: str
) -> str:
    """Restore a backup into an empty database as an operator does, and return the output.

    ``url``: of the database that the configuration names.
    """
    restored = config.with_name("restored.toml")
    write_secret(restored, config.read_text().replace(url, empty).encode())
    identity = config.with_name("recipient")
    options = ["--config", str(restored), "backup", "restore", str(file)]
    done = run_command([command(program), *options, "--identity", str(identity), *words])
    restored.unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def verify_with(daemon: Daemon, path: Path, identity: Path, **options) -> Verification:
    from custody.backup.age import read_identities

    identities = read_identities([identity], lambda name: "")
    advance = options.get("advance", no_progress)
    return verify(daemon, path, identities, daemon.believed, options.get("sample"), advance)
