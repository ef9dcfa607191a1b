"""From the configuration file to what the parts want of it; and a new file, explained."""

import base64
import binascii
import json
import os
from pathlib import Path

from daemon.errors import ConfigurationError
from hsm_driver.hsm.settings import HsmSettings, PinCredential, PinFile
from hsm_driver.settings import DriverSettings
from wire.algorithms import Algorithm
from wire.envelope import PinnedKeys


def hsm_settings(settings: DriverSettings, workers: int | None = None) -> HsmSettings:
    """The HSM's settings; ``workers`` overrides the file's number."""
    section = settings.hsm
    pin = (
        PinFile(section.pin_file)
        if section.pin_file is not None
        else PinCredential(section.pin_credential or "")
    )
    return HsmSettings(
        module=section.module,
        token_label=section.token_label,
        pin=pin,
        state_directory=section.state_directory,
        deadline_seconds=section.deadline_seconds,
        host_signing=frozenset(Algorithm.parse(text) for text in section.host_signing),
        workers=workers or section.workers or os.cpu_count() or 1,
    )


def pinned_job_keys(settings: DriverSettings) -> PinnedKeys:
    """The control plane's job-signing keys. Raises ConfigurationError."""
    try:
        return PinnedKeys(
            [
                base64.b64decode(text, validate=True)
                for text in settings.control_plane.job_signing_keys
            ]
        )
    except (binascii.Error, ValueError):
        raise ConfigurationError(
            "[control_plane] job_signing_keys has something that is no Ed25519 public key",
            "Put in what `control-plane init` printed: base64 of 32 bytes.",
        ) from None


TEMPLATE = """\
# Configuration of hsm-driver. Relative paths count from this file's folder.

[node]
# This node's name, as in its certificate's SAN URI urn:custody:node:<id>.
id = {node_text}
# The group of drivers that share one database and one queue. The operator of the control plane
# registers it: control-plane node add {node} --group {group}
group = {group_text}

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
# PostgreSQL of the group: postgresql://user@host:port/database. With a password in it, keep the
# URL in a file of mode 0600 and write url_file = "..." instead.
{database}

[hsm]
# The vendor's PKCS#11 library and the token's label.
module = {module}
token_label = {token_label}
# The user PIN: a file of mode 0600, or pin_credential = "<name>" for systemd's LoadCredential=.
# A wrong PIN is tried once, then not again until the file changes.
pin_file = {pin_file}
# Worker processes, each with one session; the number of cores when left out.
# workers = 2
# A worker that takes longer than this over one group of operations is killed and replaced.
deadline_seconds = 10
# Where the driver remembers that a PIN was refused.
state_directory = "state"
# Algorithms that may be signed on this host where the token cannot do them inside. Such private
# keys are in this host's memory while they are used: docs/architecture.md, host signing.
# Example: ["EdDSA/ed25519"]
host_signing = [{host_signing}]

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
# Nothing is signed while our clock and the control plane's are further apart than this.
max_clock_offset_seconds = 30
# How long the journal remembers jobs; must be longer than any request lives.
journal_retention_days = 90

[log]
# debug, info, warning or error
level = "info"
"""


def new_configuration(
    *,
    node: str,
    group: str,
    url: str,
    ca: Path,
    certificate: Path,
    private_key: Path,
    job_signing_keys: list[str],
    database_url: str | None,
    database_url_file: Path | None,
    module: Path,
    token_label: str,
    pin_file: Path,
    host_signing: list[str],
    health_port: int,
) -> str:
    """The text of a configuration file, with every setting explained."""
    database = (
        f"url_file = {_text(database_url_file)}"
        if database_url_file is not None
        else f"url = {_text(database_url or '')}"
    )
    return TEMPLATE.format(
        node=node,
        group=group,
        node_text=_text(node),
        group_text=_text(group),
        url=_text(url),
        ca=_text(ca),
        certificate=_text(certificate),
        private_key=_text(private_key),
        job_signing_keys=", ".join(map(_text, job_signing_keys)),
        database=database,
        module=_text(module),
        token_label=_text(token_label),
        pin_file=_text(pin_file),
        host_signing=", ".join(map(_text, host_signing)),
        health_port=health_port,
    )


def _text(value: str | Path) -> str:
    """A TOML basic string, which has JSON's escapes."""
    return json.dumps(str(value), ensure_ascii=False)
