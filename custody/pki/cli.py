"""The ``pki`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.pki.lifetimes import INTERMEDIATE_DAYS, LEAF_DAYS, ROOT_DAYS
from custody.runtime import console
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from custody.pki.certificates import IpAddress, IpNetwork
    from custody.pki.description import Description


application = console.application(
    "Certificates for mutual TLS: a root, an intermediate under it, and a leaf for each node "
    "and server.\n\nStart with: pki root, then pki intermediate, then pki issue server and "
    "pki issue node. Copy a leaf's folder to its host. Move the root's folder offline as soon "
    "as the intermediate exists."
)
issue = console.application("Issue a leaf: the certificate of one node or one server.")
application.add_typer(issue, name="issue")

EXPIRES_SOON_DAYS = 14

DirOption = Annotated[
    Path,
    typer.Option("--dir", envvar="PKI_DIR", help="The PKI's folder.", file_okay=False),
]
DaysOption = Annotated[int, typer.Option(min=1, help="Days until the certificate expires.")]
NameOption = Annotated[str, typer.Option(help="The authority's common name.")]
DEFAULT_DIR = Path("pki")


@application.command()
def root(
    folder: DirOption = DEFAULT_DIR,
    name: NameOption = "Custody root CA",
    days: DaysOption = ROOT_DAYS,
) -> None:
    """Make the root certificate, which every process trusts.

    Its private key is needed only to make intermediates. Keep it offline.
    """
    from custody.pki import certificates
    from custody.pki.directory import ROOT, Directory

    with console.operator_errors():
        directory = Directory(folder)
        directory.require_absent(ROOT)
        key = certificates.new_private_key()
        certificate = certificates.issue_root(name, key, days)
        _say_made(directory.add_authority(ROOT, key, certificate))
        console.out.print("Next: pki intermediate; then move this private key off this host.")


@application.command()
def intermediate(
    folder: DirOption = DEFAULT_DIR,
    name: NameOption = "Custody intermediate CA",
    days: DaysOption = INTERMEDIATE_DAYS,
    permit_dns: Annotated[
        list[str] | None,
        typer.Option(help="Certify only servers under this DNS name (repeatable)."),
    ] = None,
    permit_ip: Annotated[
        list[str] | None,
        typer.Option(help="Certify only servers in this network, for example 10.0.0.0/8."),
    ] = None,
) -> None:
    """Make the intermediate, which issues the leaves.

    Its private key can issue an identity for any node: keep the key off the nodes' hosts.
    """
    from custody.pki import certificates
    from custody.pki.certificates import ServerNames
    from custody.pki.directory import INTERMEDIATE, Directory

    with console.operator_errors():
        directory = Directory(folder)
        directory.require_absent(INTERMEDIATE)
        key, issuer = certificates.new_private_key(), directory.root()
        certificate = certificates.issue_intermediate(
            name,
            key.public_key(),
            issuer,
            days,
            ServerNames(dns=permit_dns or []),
            [_network(text) for text in permit_ip or []],
        )
        _say_made(directory.add_authority(INTERMEDIATE, key, certificate, issuer.certificate))
        console.out.print("Next: pki issue server NAME --dns HOST, and pki issue node ID.")


@issue.command("node")
def issue_node(
    node_id: Annotated[str, typer.Argument(metavar="ID", help="As registered: node add ID.")],
    folder: DirOption = DEFAULT_DIR,
    days: DaysOption = LEAF_DAYS,
) -> None:
    """Issue a node's certificate, with its identity urn:custody:node:ID.

    The control plane admits the node once ID is registered: control-plane node add ID --group
    GROUP.
    """
    from custody.pki import certificates
    from custody.pki.directory import NODES, Directory
    from custody.wire.nodes import node_urn

    with console.operator_errors():
        try:
            node_urn(node_id)
        except ValueError as error:
            raise OperatorError(str(error), "Choose such an id.") from None
        directory = Directory(folder)
        directory.require_absent(NODES, node_id)
        issuer = directory.intermediate()
        key = certificates.new_private_key()
        leaf = certificates.issue_node(node_id, key.public_key(), issuer, days)
        _say_made(directory.add_leaf(NODES, node_id, key, leaf))
        console.out.print(f"Next: copy it to the host of {node_id}, as certificate, key and ca.")


@issue.command("server")
def issue_server(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the certificate's folder.")],
    dns: Annotated[
        list[str] | None, typer.Option(help="A host name that clients connect to (repeatable).")
    ] = None,
    ip: Annotated[
        list[str] | None, typer.Option(help="An address that clients connect to (repeatable).")
    ] = None,
    folder: DirOption = DEFAULT_DIR,
    days: DaysOption = LEAF_DAYS,
) -> None:
    """Issue a server's certificate for each --dns name and --ip address that clients use."""
    from custody.pki import certificates
    from custody.pki.certificates import ServerNames
    from custody.pki.directory import LEAF_NAME, SERVERS, Directory

    with console.operator_errors():
        if not LEAF_NAME.fullmatch(name):
            raise OperatorError(
                f"{name!r} is not a folder name: 1 to 63 of a-z, 0-9, '.', '_' and '-'",
                "Choose such a name; give the host's names with --dns.",
            )
        names = ServerNames(dns=dns or [], ip=[_address(text) for text in ip or []])
        if not names.dns and not names.ip:
            raise OperatorError(
                "a server's certificate needs a name or address that clients connect to",
                f"For instance: pki issue server {name} --dns {name}.example.org --ip 127.0.0.1",
            )
        directory = Directory(folder)
        directory.require_absent(SERVERS, name)
        issuer = directory.intermediate()
        key = certificates.new_private_key()
        leaf = certificates.issue_server(name, names, key.public_key(), issuer, days)
        _say_made(directory.add_leaf(SERVERS, name, key, leaf))


@application.command()
def show(
    file: Annotated[Path, typer.Argument(help="Path of a certificate.pem or ca.pem.")],
    as_json: console.Json = False,
) -> None:
    """Show the certificates in a file: subject, issuer and end of validity."""
    from custody.pki.description import describe
    from custody.runtime.tls import load_certificates

    with console.operator_errors():
        found = [describe(certificate) for certificate in load_certificates(file)]
        if as_json:
            console.print_json([each.model_dump(mode="json") for each in found])
            return
        for each in found:
            rows = _rows(each)
            console.print_table(rows[0], rows[1:])
            console.out.print()


def _rows(found: Description) -> list[tuple[str, str]]:
    from rich.markup import escape

    return [
        (found.kind, escape(found.identity or found.subject)),
        ("subject", escape(found.subject)),
        ("issuer", escape(found.issuer)),
        ("expires", _expiry(found)),
        ("serial", found.serial),
        ("sha256", found.sha256),
    ]


def _expiry(found: Description) -> str:
    at = f"{found.not_after:%Y-%m-%d %H:%M} UTC"
    if found.days_left < 0:
        return f"[red]{at} (expired)[/red]"
    if found.days_left < EXPIRES_SOON_DAYS:
        return f"[yellow]{at} (in {found.days_left} days)[/yellow]"
    return f"{at} (in {found.days_left} days)"


def _say_made(path: Path) -> None:
    console.out.print(f"Made {path}", markup=False)


def _network(text: str) -> IpNetwork:
    import ipaddress

    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise OperatorError(f"--permit-ip: {error}", "Write a network as 10.0.0.0/8.") from None


def _address(text: str) -> IpAddress:
    import ipaddress

    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise OperatorError(f"--ip: {error}", "Write an address as 10.0.0.5.") from None


def main() -> None:
    application()
