"""The text of a new configuration file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from custody.runtime.certificate_settings import CERTIFICATES_EXPLAINED
from custody.runtime.tls_options import CA, CERTIFICATE, CRL, PRIVATE_KEY, CrlFile
from custody.runtime.toml import optional, quoted

TEMPLATE = """\
# Configuration of a delivery server. Relative paths are taken from this file's folder.

[server]
# This server's name in the control plane's [delivery] servers and the signers' [[delivery]].
name = {name}
host = {host}
port = {port}
# The certificate (leaf, then intermediate) and its private key (mode 0600). Make them with
# `pki csr server {plain_name} --dns HOST` here, `pki sign` at the authority, and `pki install`
# here, which puts them into the folder tls/ unless --folder names another one.
certificate = {certificate}
private_key = {private_key}
# The root of the signers' certificates. For signers of two organisations: a file with both roots.
client_ca = {client_ca}
# CRLs from `pki crl`: this server refuses signers that they revoke, and all signers after they have
# expired.
{crl}

[tickets]
# The control plane's job-signing public keys, as `control-plane init` prints them. This server
# accepts only tickets that one of these keys has signed. Give two keys while one is being replaced.
job_signing_keys = [{job_signing_keys}]

[limits]
# These limits stop a signer from using up this server's memory. The bytes count messages that the
# server holds or is receiving. Beyond a limit the server refuses the request, and the control plane
# uses another server.
message_bytes = 524288       # one message; the protocols' largest has less than 400 KiB
session_bytes = 33554432     # all messages of one ceremony
signer_bytes = 67108864      # all messages of one signer
total_bytes = 268435456      # all messages
signer_sessions = 4096       # ceremonies that one signer has begun, until their tickets expire
total_sessions = 16384       # all ceremonies
signer_connections = 128     # each waiting exchange takes one: at least a signer's [loop] slots
total_connections = 1024     # each takes up to 0.7 MiB, in addition to the messages
address_connections = 512    # one IPv4 address or IPv6 /64, counted before the TLS handshake
trusted_proxies = []         # for example ["10.0.0.5/32"]: load balancers, not counted by address
head_seconds = 10            # for a request's headers to arrive
hello_seconds = 5            # from one hello to the next; after that the server drops the ceremony
idle_seconds = 30            # the same for later exchanges, between which signers compute
body_seconds = 15            # for a request's body to arrive
max_clock_offset_seconds = 5 # from the signers' clocks: a third of the life of a ticket to sign

[health]
# /healthz, /readyz and /metrics. Keep the port on a local address: it needs no credentials.
host = "127.0.0.1"
port = {health_port}

[log]
# debug, info, warning or error
level = "info"

"""


@dataclass(frozen=True, kw_only=True)
class NewServer:
    """The facts that `mpc-delivery init` asks for: each field is an option of the command."""

    name: Annotated[str, typer.Option(help="The name that the control plane and signers use.")]
    job_signing_keys: Annotated[
        list[str],
        typer.Option(
            "--job-signing-key",
            help="The job-signing key that `control-plane init` printed; repeatable.",
        ),
    ]
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "0.0.0.0"  # noqa: S104
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8445
    certificate: Annotated[Path, typer.Option(help="This server's certificate.")] = CERTIFICATE
    private_key: Annotated[Path, typer.Option(help="The certificate's private key.")] = PRIVATE_KEY
    client_ca: Annotated[Path, typer.Option(help="The signers' root certificate.")] = CA
    crl: CrlFile = None
    health_port: Annotated[int, typer.Option(help="Port of /healthz, /readyz and /metrics.")] = 9466


def new_configuration(new: NewServer) -> str:
    """Return the text of a configuration file, with every setting explained."""
    return (
        TEMPLATE.format(
            plain_name=new.name,
            name=quoted(new.name),
            host=quoted(new.host),
            port=new.port,
            certificate=quoted(new.certificate),
            private_key=quoted(new.private_key),
            client_ca=quoted(new.client_ca),
            crl=optional("crl", new.crl, CRL),
            job_signing_keys=", ".join(map(quoted, new.job_signing_keys)),
            health_port=new.health_port,
        )
        + CERTIFICATES_EXPLAINED
    )
