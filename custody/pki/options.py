"""Arguments and options that several commands of ``pki`` have."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from custody.pki.names import ServerNames

DEFAULT_DIR = Path("pki")

DirOption = Annotated[
    Path,
    typer.Option("--dir", envvar="PKI_DIR", help="The PKI's folder.", file_okay=False),
]
DaysOption = Annotated[int, typer.Option(min=1, help="Days until the certificate expires.")]
PassphraseOption = Annotated[
    Path | None,
    typer.Option(help="File with the passphrase of the key (or /dev/fd/N); without it, pki asks."),
]
PinOption = Annotated[
    Path | None,
    typer.Option(help="File with the user PIN, if the key is in a token; without it, pki asks."),
]
NodeId = Annotated[str, typer.Argument(metavar="ID", help="As registered: node add ID.")]
ServerName = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the server: a-z, 0-9, '.', '_' and '-'.")
]
DnsOption = Annotated[
    list[str] | None, typer.Option(help="A host name that clients connect to (repeatable).")
]
IpOption = Annotated[
    list[str] | None, typer.Option(help="An address that clients connect to (repeatable).")
]


def checked_node(node_id: str) -> str:
    """Return the id. Raise OperatorError if it is not a node id."""
    from custody.wire.nodes import node_urn

    try:
        node_urn(node_id)
    except ValueError as error:
        raise OperatorError(str(error), "Choose such an id.") from None
    return node_id


def checked_server(
    command: str, name: str, dns: list[str] | None, ip: list[str] | None
) -> ServerNames:
    """Return the names of a server, at least one. Raise OperatorError."""
    from custody.pki.directory import LEAF_NAME
    from custody.pki.names import ServerNames

    if not LEAF_NAME.fullmatch(name):
        raise OperatorError(
            f"{name!r} is not a folder name: 1 to 63 of a-z, 0-9, '.', '_' and '-'",
            "Choose such a name; give the host's names with --dns.",
        )
    names = ServerNames(dns=dns or [], ip=[_address(text) for text in ip or []])
    if not names.dns and not names.ip:
        raise OperatorError(
            "a server's certificate needs a name or address that clients connect to",
            f"For instance: pki {command} {name} --dns {name}.example.org --ip 127.0.0.1",
        )
    return names


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return a network of --permit-ip. Raise OperatorError."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise OperatorError(f"--permit-ip: {error}", "Write a network as 10.0.0.0/8.") from None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise OperatorError(f"--ip: {error}", "Write an address as 10.0.0.5.") from None
