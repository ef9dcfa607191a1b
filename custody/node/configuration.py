"""The text of what every node's new configuration file has, every setting explained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from custody.runtime.configuration import quoted

FIRST_SECTIONS = """\
[node]
# This node's name, as in its certificate's SAN URI urn:custody:node:<id>.
id = {node_text}
# {group_is} The operator of the control plane
# registers it: control-plane node add {node} --group {group}
group = {group_text}
# What this host remembers without a database: the freeze, and that a PIN was refused.
state_directory = "state"

[control_plane]
# The node API.
url = {url}
# The root certificate that the control plane's must be under.
ca = {ca}
# This node's certificate (leaf, then intermediate) and its private key (mode 0600), as
# `pki issue node {node}` makes them.
certificate = {certificate}
private_key = {private_key}
# The control plane's job-signing public keys, as `control-plane init` prints them. A job that
# none of them has signed is refused. Two while a key is being replaced.
job_signing_keys = [{job_signing_keys}]

[database]
# PostgreSQL: postgresql://user@host:port/database. With a password in it, keep the URL in a file
# of mode 0600 and write url_file = "..." instead.
{database}

"""

LAST_SECTIONS = """\
[identity]
# The node's own Ed25519 key (mode 0600), which signs the head of its audit chain.
private_key = "identity.pem"

[health]
# /healthz, /readyz and /metrics. Keep it on a local address: it asks for no credentials.
host = "127.0.0.1"
port = {health_port}

[loop]
# Jobs at once, between claim and report.
slots = 64
# Nothing is signed while our clock and the control plane's are further apart than this; or, at a
# signer, than a third of what a ticket lives (the control plane says how much that is).
max_clock_offset_seconds = 30
# How long the journal remembers jobs; must be longer than any request lives.
journal_retention_days = 90

[requests]
# true: only what an application has signed itself is done, under a key pinned by `{program} apps
# add`. Then a stolen control plane has nothing signed. Applications must be ready for it.
require_signature = false

# The owner's validation gate, asked before anything is signed: docs/how-to/validation-gate.md.
# Without an approval nothing is; without this section there is no gate.
# [gate]
# url = "https://gate.example:8450/decide"
# ca = "gate-ca.pem"              # the root that its certificate must be under
# hmac_key_file = "gate-hmac.key" # mode 0600, shared with the gate, which knows us by it
# certificate = "certificate.pem" # for mutual TLS; both or none
# private_key = "private_key.pem"
# timeout_seconds = 5             # a later answer counts for nothing
# allow_bare_hashes = true        # false: hashes, and what may be one, are denied
# at_once = 256                   # requests that wait at the gate; more are tried again later

[log]
# debug, info, warning or error
level = "info"
"""


@dataclass(frozen=True, kw_only=True)
class NewNode:
    """What `init` knows of a node of either mode.

    ``database``: the URL of PostgreSQL, or the file of mode 0600 that holds it.
    """

    node: str
    group: str
    url: str = "https://localhost:8444"
    ca: Path = Path("ca.pem")
    certificate: Path = Path("certificate.pem")
    private_key: Path = Path("private_key.pem")
    job_signing_keys: Sequence[str]
    database: str | Path
    health_port: int


def first_sections(
    new: NewNode, group_is: str = "The group of drivers that share one database and one queue."
) -> str:
    """Text of [node], [control_plane] and [database], explained."""
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
        job_signing_keys=", ".join(map(quoted, new.job_signing_keys)),
        database=f"{database} = {quoted(new.database)}",
    )


def last_sections(new: NewNode, program: str) -> str:
    """Text of [identity], [health], [loop], [requests], [gate] and [log], explained."""
    return LAST_SECTIONS.format(program=program, health_port=new.health_port)
