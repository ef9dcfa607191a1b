"""The sections that every node's new configuration file has, with every setting explained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from custody.backup.settings import BACKUP_SECTION
from custody.runtime.certificate_settings import CERTIFICATES_EXPLAINED
from custody.runtime.tls_options import CA, CERTIFICATE, CRL, PRIVATE_KEY, CrlFile
from custody.runtime.toml import optional, quoted

FIRST_SECTIONS = """\
[node]
# This node's name, as in its certificate's SAN URI urn:custody:node:<id>.
id = {node_text}
# {group_is} The operator of the control plane
# registers it: control-plane node add {node} --group {group}
group = {group_text}
# Folder for facts that must not depend on the database: the freeze, and a refused PIN.
state_directory = "state"

[control_plane]
# The node API.
url = {url}
# The root of the control plane's certificate.
ca = {ca}
# This node's certificate (leaf, then intermediate) and its private key (mode 0600). Make them with
# `pki csr node {node}` here, `pki sign` at the authority, and `pki install` here, which puts
# them into the folder tls/ unless --folder names another one.
certificate = {certificate}
private_key = {private_key}
# CRLs from `pki crl`: this node asks no control plane that they revoke, and none at all after they
# have expired. You may set crl also beside the ca of a gate, a delivery server or a bucket.
{crl}
# The control plane's job-signing public keys, as `control-plane init` prints them. The node
# refuses jobs that none of these keys has signed. Give two keys while one is being replaced.
job_signing_keys = [{job_signing_keys}]
# true: this node sends its audit records to the control plane, whose admins then read them with
# GET /v1/audit. The records contain the names of this node's operators and the reasons they gave.
send_audit_records = false

[database]
# PostgreSQL: postgresql://user@host:port/database. If the URL contains a password, keep it in a
# file of mode 0600 and write url_file = "..." instead.
{database}

"""

LAST_SECTIONS = """\
[identity]
# The node's own Ed25519 key (mode 0600), which signs the head of its audit chain.
private_key = "identity.pem"

[health]
# /healthz, /readyz and /metrics. Keep the port on a local address: it needs no credentials.
host = "127.0.0.1"
port = {health_port}

[loop]
# Jobs at once, between claim and report.
slots = 64
# This node signs nothing while its clock differs from the control plane's by more than this. At a
# signer, a third of a ticket's life is the limit if that is less.
max_clock_offset_seconds = 30

[requests]
# true: the node does only requests that an application has signed, with a key pinned by `{program}
# apps add`. Then a stolen control plane gets no signature. Prepare the applications first.
require_signature = false

# The owner's validation gate, asked before each signature: docs/how-to/validation-gate.md.
# Without an approval the node signs nothing. Without this section there is no gate.
# [gate]
# url = "https://gate.example:8450/decide"
# ca = "gate-ca.pem"              # the root of the gate's certificate
# crl = "gate-crl.pem"            # CRLs that the gate's certificate is checked against
# hmac_key_file = "gate-hmac.key" # mode 0600, shared with the gate: proves who asks
# certificate = "certificate.pem" # for mutual TLS; both or none
# private_key = "private_key.pem"
# timeout_seconds = 5             # a later answer is ignored
# allow_bare_hashes = true        # false: hashes and possible hashes are denied
# at_once = 256                   # requests that wait at the gate; further ones are retried later

"""

LOG_SECTION = """\
[log]
# debug, info, warning or error
level = "info"
"""


DatabaseUrl = Annotated[
    str, typer.Option(help="URL without a password; otherwise use --database-url-file.")
]
HealthPort = Annotated[int, typer.Option(help="Port of /healthz, /readyz and /metrics.")]


@dataclass(frozen=True, kw_only=True)
class NewNode:
    """The facts about a node that `init` asks for in both modes: each field is an option."""

    node: Annotated[str, typer.Option(help="This node's id: a-z, 0-9, '.', '_', '-'.")]
    job_signing_keys: Annotated[
        list[str],
        typer.Option(
            "--job-signing-key",
            help="The job-signing key that `control-plane init` printed; repeatable.",
        ),
    ]
    group: str
    url: Annotated[str, typer.Option(help="URL of the node API.")] = "https://localhost:8444"
    ca: Annotated[Path, typer.Option(help="Root certificate of the node API.")] = CA
    certificate: Annotated[Path, typer.Option(help="This node's certificate.")] = CERTIFICATE
    private_key: Annotated[Path, typer.Option(help="The certificate's private key.")] = PRIVATE_KEY
    crl: CrlFile = None
    database_url: DatabaseUrl
    database_url_file: Annotated[
        Path | None, typer.Option(help="File of mode 0600 that contains the URL.")
    ] = None
    health_port: HealthPort

    @property
    def database(self) -> str | Path:
        """Return the URL of PostgreSQL, or the file of mode 0600 that contains it."""
        return self.database_url_file or self.database_url


def first_sections(
    new: NewNode, group_is: str = "The group of drivers that share one database and one queue."
) -> str:
    """Return the text of [node], [control_plane] and [database], with explanations."""
    database = "url_file" if isinstance(new.database, Path) else "url"
    return FIRST_SECTIONS.format(
        node=new.node,
        group=new.group,
        node_text=quoted(new.node),
        group_text=quoted(new.group),
        group_is=group_is,
        url=quoted(new.url),
        ca=quoted(new.ca),
        certificate=quoted(new.certificate),
        private_key=quoted(new.private_key),
        crl=optional("crl", new.crl, CRL),
        job_signing_keys=", ".join(map(quoted, new.job_signing_keys)),
        database=f"{database} = {quoted(new.database)}",
    )


def last_sections(new: NewNode, program: str) -> str:
    """Return the text of [identity], [health], [loop], [requests], [gate], [backup] and [log]."""
    sections = LAST_SECTIONS.format(program=program, health_port=new.health_port)
    backup = BACKUP_SECTION.format(program=program)
    return sections + backup + CERTIFICATES_EXPLAINED + "\n" + LOG_SECTION
