"""The control plane's configuration file, and what ``control-plane init`` writes."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from custody.backup.settings import BACKUP_SECTION
from custody.backup.settings import BackupSection as CommonBackupSection
from custody.control_plane.audit.space import DEFAULT_MEGABYTES
from custody.control_plane.conductor.settings import CeremoniesSection, DeliverySection
from custody.control_plane.jobs.queue import MAX_LAPSES
from custody.runtime.certificate_settings import CERTIFICATES_EXPLAINED, CertificatesSection
from custody.runtime.configuration import (
    ConfiguredPath,
    DatabaseSection,
    Section,
    read_settings,
    write_secret,
)
from custody.runtime.errors import ConfigurationError
from custody.runtime.http_limits import HttpLimits
from custody.runtime.signing_key import create_signing_key, load_signing_key
from custody.runtime.tls import TlsFiles
from custody.runtime.tls_options import CRL
from custody.runtime.toml import optional
from custody.wire.algorithms import Store
from custody.wire.signed_bytes import SigningKey

SIGNING_KEY_FILE = "job-signing.pem"


Port = Annotated[int, Field(ge=1, le=65535)]


class LongPollsSection(Section):
    """How many requests with ``wait`` are held open at once."""

    total: Annotated[int, Field(ge=1)] = 1536
    of_token: Annotated[int, Field(ge=1)] = 256


class PublicApiSection(Section):
    host: str
    port: Port
    certificate: ConfiguredPath
    private_key: ConfiguredPath
    limits: HttpLimits = HttpLimits()
    long_polls: LongPollsSection = LongPollsSection()

    @property
    def tls(self) -> TlsFiles:
        return TlsFiles("public_api", self.certificate, self.private_key, is_server=True)


class NodeApiSection(Section):
    host: str
    port: Port
    certificate: ConfiguredPath
    private_key: ConfiguredPath
    client_ca: ConfiguredPath
    crl: ConfiguredPath | None = None
    limits: HttpLimits = HttpLimits(body_seconds=60)
    audit_megabytes: Annotated[int, Field(ge=1)] = DEFAULT_MEGABYTES
    """Millions of bytes of audit records that each node may store here."""

    @property
    def tls(self) -> TlsFiles:
        return TlsFiles(
            "node_api",
            self.certificate,
            self.private_key,
            self.client_ca,
            self.crl,
            is_server=True,
        )


class MetricsSection(Section):
    host: str = "127.0.0.1"
    port: Port


class JobsSection(Section):
    signing_key: ConfiguredPath
    lifetime_seconds: Annotated[int, Field(ge=1, le=86_400)] = 900
    lease_seconds: Annotated[int, Field(ge=1, le=3_600)] = 30
    max_lapses: Annotated[int, Field(ge=2, le=1_000)] = MAX_LAPSES

    def signer(self) -> SigningKey:
        """The key that signs jobs. Raises ConfigurationError."""
        return load_signing_key(
            self.signing_key,
            "the job-signing key",
            "Name the file that `control-plane init` made, or restore it from its copy.",
        )


class GroupsSection(Section):
    """Which group of nodes serves each store."""

    hsm: str = "hsm"
    mpc: str = "mpc"

    @model_validator(mode="after")
    def _each_has_its_own(self) -> "GroupsSection":
        if self.hsm == self.mpc:
            raise ValueError("drivers and signers need groups of their own")
        return self

    def serving(self, store: Store) -> str:
        return self.hsm if store is Store.HSM else self.mpc


class BackupSection(CommonBackupSection):
    """As of a node, and the folder for what this host remembers of its backups."""

    state_directory: ConfiguredPath


class Settings(Section):
    database: DatabaseSection
    public_api: PublicApiSection
    node_api: NodeApiSection
    metrics: MetricsSection | None = None
    jobs: JobsSection
    groups: GroupsSection = GroupsSection()
    delivery: DeliverySection = DeliverySection()
    ceremonies: CeremoniesSection = CeremoniesSection()
    backup: BackupSection | None = None
    certificates: CertificatesSection = CertificatesSection()


def load_settings(path: Path) -> Settings:
    """Read and check the configuration. Raises ConfigurationError."""
    return read_settings(path, Settings)


def initialise(path: Path, crl: Path | None = None, database_url_file: Path | None = None) -> bytes:
    """Write a new configuration and job-signing key beside each other; return the public key.

    ``crl``: CRLs of the nodes' certificates. ``database_url_file``: the file with the URL.

    Raises ConfigurationError rather than overwrite either.
    """
    key_path = path.parent / SIGNING_KEY_FILE
    for existing in (path, key_path):
        if existing.exists():
            raise ConfigurationError(
                f"{existing} is there already",
                "Keep it, or choose another place with --config; nothing was changed.",
            )
    try:
        signer = create_signing_key(key_path)
        write_secret(path, _configuration(crl, database_url_file).encode())
    except OSError as error:
        raise ConfigurationError(
            f"cannot write into {path.parent}: {os.strerror(error.errno or 0)}",
            "Choose a folder that this user may write to, with --config.",
        ) from None
    return signer.public_key


def _configuration(crl: Path | None, database_url_file: Path | None) -> str:
    url = DEFAULT_URL if database_url_file is None else None
    return TEMPLATE.format(
        url=optional("url", url, DEFAULT_URL),
        url_file=optional("url_file", database_url_file, "database-url"),
        crl=optional("crl", crl, CRL).ljust(CRL_WIDTH),
    )


DEFAULT_URL = "postgresql://control_plane@127.0.0.1:5432/control_plane"
CRL_WIDTH = 37
"""The column of the comments beside the settings of [node_api]."""

TEMPLATE = f"""\
# Configuration of the control plane. Relative paths are taken from this file's folder.

[database]
# PostgreSQL. `control-plane migrate` makes the tables. Write the URL here, or, so that this file
# holds no password, into a file that only this user may read (chmod 600).
{{url}}
{{url_file}}

[public_api]
# Where applications come in: HTTPS with bearer tokens (`control-plane token create`).
host = "0.0.0.0"
port = 8443
certificate = "tls/certificate.pem"   # leaf first, then the intermediate
private_key = "tls/private_key.pem"   # tls/ is the folder of `pki csr` and `pki install`

[public_api.limits]
# What is taken of clients before they have shown a token. A client that sends more is answered
# 431, 408 or 429, and cut off. The limit of a body is 256 KiB (413).
header_bytes = 16384                  # of a request line with its headers
header_count = 64
header_seconds = 10                   # for the headers to come in whole
body_seconds = 30                     # from then on for the body
connections = 2048                    # in all; one more is closed unheard
address_connections = 256             # of one IPv4 address or IPv6 /64; one more is answered 429
trusted_proxies = []                  # as ["10.0.0.5/32"]: load balancers, which have many clients'
                                      # connections; limit those of each client there

[public_api.long_polls]
# Requests with `wait` that are held open at once; one more is answered 429, and nothing is begun.
total = 1536                          # fewer than connections, so that other requests get through
of_token = 256

[node_api]
# Where nodes come in: mutual TLS. Only nodes that `control-plane node add` registered get work.
host = "0.0.0.0"
port = 8444
certificate = "tls/certificate.pem"
private_key = "tls/private_key.pem"
client_ca = "tls/ca.pem"              # the root whose nodes are let in
{{crl}} # from `pki crl`: nodes that it revokes are refused, and all
                                      # nodes after it has expired
audit_megabytes = 4096                # of audit records that each node may store here. A node with
                                      # more is answered 429, and keeps its records itself

[node_api.limits]
# As [public_api.limits], of clients whose certificate is under client_ca; a body may have 8 MiB.
body_seconds = 60
connections = 2048
address_connections = 256

[metrics]
# Prometheus metrics without authentication: keep them local. Leave the section out for none.
host = "127.0.0.1"
port = 9465

[jobs]
# Signs every job. Nodes pin its public key and do nothing that it has not signed. Keep a copy
# offline; who has it can ask nodes for signatures.
signing_key = "{SIGNING_KEY_FILE}"
lifetime_seconds = 900                # a request that is not done by then fails as expired
lease_seconds = 30                    # how long a node holds a job before another may have it
max_lapses = {MAX_LAPSES}                        # a job fails after so many leases without a report

[groups]
# Which group of nodes serves each store of the API.
hsm = "hsm"
mpc = "mpc"                           # of all signers; the API makes signer groups of them

[delivery]
# Through which servers signers talk, by the names that their configurations give them. They are
# taken in turn. Without one there are no keys of store mpc.
servers = []                          # as ["delivery-1", "delivery-2"]

[ceremonies]
sign_seconds = 15                     # for a quorum of signers to sign, before another is chosen
keys_seconds = 120                    # for all signers to make, refresh or repair shares
order_seconds = 30                    # for a signer to do an order, or to ask its owner's gate
claim_seconds = 3                     # for a signer to take up its task
alive_seconds = 25                    # a signer whose last heartbeat is older is away

{BACKUP_SECTION.format(program="control-plane").rstrip()}
# Folder for what this host remembers of its backups: the last one, and those found good.
state_directory = "state"

{CERTIFICATES_EXPLAINED.rstrip()}
"""
