"""Commands on a node's or server's host: ``pki csr``, ``pki renew`` and ``pki install``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.pki.options import (
    DnsOption,
    IpOption,
    NodeId,
    ServerName,
    checked_node,
    checked_server,
)
from custody.runtime import console
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    from custody.pki.host_files import HostFiles

csr = console.application(
    "Make a private key on this host, and the request for its certificate. The key stays here."
)

FolderOption = Annotated[
    Path,
    typer.Option(
        "--folder",
        envvar="PKI_HOST_DIR",
        help="Folder of the daemon's certificate and key.",
        file_okay=False,
    ),
]
DEFAULT_FOLDER = Path("tls")


@csr.command("node")
def csr_node(node_id: NodeId, folder: FolderOption = DEFAULT_FOLDER) -> None:
    """Make the first key of a node, and a request for urn:custody:node:ID."""
    from custody.pki.names import node_names

    with console.operator_errors():
        _first_request(folder, node_id, node_names(checked_node(node_id)), f"node {node_id}")


@csr.command("server")
def csr_server(
    name: ServerName,
    dns: DnsOption = None,
    ip: IpOption = None,
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Make the first key of a server, and a request for its names and addresses."""
    from custody.pki.names import server_names

    with console.operator_errors():
        names = server_names(checked_server("csr server", name, dns, ip))
        options = [*(f"--dns {each}" for each in dns or []), *(f"--ip {each}" for each in ip or [])]
        _first_request(folder, name, names, " ".join(["server", name, *options]))


def renew(
    folder: FolderOption = DEFAULT_FOLDER,
    same_key: Annotated[
        bool, typer.Option("--same-key", help="Keep the private key, for peers that pin it.")
    ] = False,
) -> None:
    """Make a new key and the request for the next certificate, with the names of this one.

    The daemon works on with the old pair until pki install has put the new pair in place.
    """
    from datetime import UTC, datetime

    from cryptography import x509

    from custody.pki.certificates import new_private_key
    from custody.pki.description import describe
    from custody.pki.host_files import HostFiles

    with console.operator_errors(), _os_errors(folder):
        files = HostFiles(folder)
        leaf = files.certificate()
        if leaf is None:
            raise OperatorError(
                f"there is no certificate in {folder}",
                "Make the first request with: pki csr node ID, or pki csr server NAME --dns HOST",
            )
        described = describe(leaf)
        if described.kind not in ("node", "server"):
            raise OperatorError(
                f"the certificate in {folder} is neither a node's nor a server's",
                "Give the right --folder.",
            )
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = files.private_key() if same_key else new_private_key()
        options = [
            *(f"--dns {each}" for each in found.get_values_for_type(x509.DNSName)),
            *(f"--ip {each}" for each in found.get_values_for_type(x509.IPAddress)),
            # `pki sign` never overwrites: the authority may still have the last certificate's file
            f"--out {described.subject}.{datetime.now(UTC):%Y-%m-%d}.pem",
        ]
        words = " ".join([described.kind, described.subject, *options])
        _write_request(files, described.subject, found, key, words)


def install(
    certificate: Annotated[
        Path | None, typer.Argument(help="The certificate that pki sign made.")
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(help="The roots to trust from now on; needed with the first certificate."),
    ] = None,
    crl: Annotated[Path | None, typer.Option(help="The CRLs to use from now on.")] = None,
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Check a certificate, roots or CRLs, and put them in place for the daemon.

    Certificate and key are exchanged in one step. Nothing is written if a check fails.
    """
    from custody.pki.host_files import HostFiles
    from custody.pki.install_plan import plan

    with console.operator_errors(), _os_errors(folder):
        if certificate is None and ca is None and crl is None:
            raise OperatorError(
                "there is nothing to install",
                "Name a certificate, or give --ca FILE or --crl FILE.",
            )
        for done in plan(HostFiles(folder), certificate, ca, crl).run():
            console.out.print(done, markup=False)


def _first_request(folder: Path, name: str, names: x509.SubjectAlternativeName, words: str) -> None:
    from custody.pki.certificates import new_private_key
    from custody.pki.host_files import PRIVATE_KEY, HostFiles

    with _os_errors(folder):
        files = HostFiles(folder)
        if files.certificate() is not None or (folder / PRIVATE_KEY).exists():
            raise OperatorError(
                f"{folder} has a certificate or a key already",
                "For the next certificate: pki renew. For another name give another --folder.",
            )
        _write_request(files, name, names, new_private_key(), words)


def _write_request(
    files: HostFiles,
    name: str,
    names: x509.SubjectAlternativeName,
    key: ec.EllipticCurvePrivateKey,
    words: str,
) -> None:
    from custody.pki.records import key_fingerprint

    request = files.request(name, names, key)
    pending = files.pending_request()
    assert pending is not None
    console.out.print(f"Made {request}; its private key stays in {request.parent}", markup=False)
    console.out.print(f"sha256 of its public key: {key_fingerprint(pending)}")
    console.out.print(
        f"Next: copy {request.name} to the authority, and there: pki sign {words} {request.name}",
        markup=False,
    )


@contextmanager
def _os_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OperatorError(
            f"cannot write to {error.filename or folder}: {error.strerror}",
            "Run the command as the daemon's user, or as root.",
        ) from None


def add_to(application: typer.Typer) -> None:
    """Add the commands of this module."""
    application.add_typer(csr, name="csr")
    application.command()(renew)
    application.command()(install)
