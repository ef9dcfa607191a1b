"""Commands at the authority that issue leaves: ``pki sign``, ``pki issue`` and ``pki list``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.pki.lifetimes import LEAF_DAYS
from custody.pki.options import (
    DEFAULT_DIR,
    DaysOption,
    DirOption,
    DnsOption,
    IpOption,
    NodeId,
    PassphraseOption,
    PinOption,
    ServerName,
    checked_node,
    checked_server,
)
from custody.runtime import console
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    from custody.pki.certificates import Authority
    from custody.pki.directory import Directory

    Make = Callable[[ec.EllipticCurvePublicKey, Authority], x509.Certificate]

sign = console.application("Sign the request that a host made: its private key stays there.")
issue = console.application(
    "Issue a leaf with a key that is made here, for a trial on one machine. Elsewhere the key "
    "would have to travel: use pki csr and pki sign."
)

RequestFile = Annotated[Path, typer.Argument(help="The request.pem that pki csr made.")]
OutOption = Annotated[
    Path | None,
    typer.Option(help="File of the certificate and its issuer [default: beside the request]."),
]


@sign.command("node")
def sign_node(
    node_id: NodeId,
    request: RequestFile,
    out: OutOption = None,
    folder: DirOption = DEFAULT_DIR,
    days: DaysOption = LEAF_DAYS,
    passphrase_file: PassphraseOption = None,
    pin_file: PinOption = None,
) -> None:
    """Sign a node's request, if it is for exactly this id.

    Compare the fingerprint of the request with the one that pki csr printed on the host.
    """
    from custody.pki.certificates import issue_node as make
    from custody.pki.directory import Directory
    from custody.pki.names import node_names
    from custody.pki.secrets import Secrets

    with console.operator_errors():
        names = node_names(checked_node(node_id))
        directory = Directory(folder, Secrets(passphrase_file, pin_file))
        _sign(
            directory,
            request,
            out,
            node_id,
            names,
            lambda key, issuer: make(node_id, key, issuer, days),
        )


@sign.command("server")
def sign_server(
    name: ServerName,
    request: RequestFile,
    dns: DnsOption = None,
    ip: IpOption = None,
    out: OutOption = None,
    folder: DirOption = DEFAULT_DIR,
    days: DaysOption = LEAF_DAYS,
    passphrase_file: PassphraseOption = None,
    pin_file: PinOption = None,
) -> None:
    """Sign a server's request, if it is for exactly these names and addresses."""
    from custody.pki.certificates import issue_server as make
    from custody.pki.directory import Directory
    from custody.pki.names import server_names
    from custody.pki.secrets import Secrets

    with console.operator_errors():
        names = checked_server("sign server", name, dns, ip)
        directory = Directory(folder, Secrets(passphrase_file, pin_file))
        _sign(
            directory,
            request,
            out,
            name,
            server_names(names),
            lambda key, issuer: make(name, names, key, issuer, days),
        )


def _sign(
    directory: Directory,
    request: Path,
    out: Path | None,
    name: str,
    names: x509.SubjectAlternativeName,
    make: Make,
) -> None:
    from custody.pki.signing import read_request, sign_request
    from custody.runtime.configuration import write_new

    answer = out or request.with_name(f"{name}.certificate.pem")
    if answer.exists():
        raise OperatorError(
            f"{answer} exists, and pki never overwrites a certificate",
            "Move it away, or give another file with --out.",
        )
    pem = sign_request(directory, read_request(request), name, names, make)
    try:
        write_new(answer, pem, 0o644)
    except OSError as error:
        raise OperatorError(
            f"cannot write {answer}: {error.strerror}", "Give a file that you may write to: --out."
        ) from None
    console.out.print(f"Made {answer}", markup=False)
    console.out.print(
        f"Next: copy it to the host, and there: pki install {answer.name}", markup=False
    )


@issue.command("node")
def issue_node(
    node_id: NodeId,
    folder: DirOption = DEFAULT_DIR,
    days: DaysOption = LEAF_DAYS,
    passphrase_file: PassphraseOption = None,
    pin_file: PinOption = None,
) -> None:
    """Issue a node's certificate, with its identity urn:custody:node:ID.

    The control plane admits the node once ID is registered: control-plane node add ID --group
    GROUP.
    """
    from custody.pki.certificates import issue_node as make
    from custody.pki.directory import NODES, Directory
    from custody.pki.secrets import Secrets

    with console.operator_errors():
        checked_node(node_id)
        directory = Directory(folder, Secrets(passphrase_file, pin_file))
        _issue(directory, NODES, node_id, lambda key, issuer: make(node_id, key, issuer, days))
        console.out.print(f"Next: copy it to the host of {node_id}, as certificate, key and ca.")


@issue.command("server")
def issue_server(
    name: ServerName,
    dns: DnsOption = None,
    ip: IpOption = None,
    folder: DirOption = DEFAULT_DIR,
    days: DaysOption = LEAF_DAYS,
    passphrase_file: PassphraseOption = None,
    pin_file: PinOption = None,
) -> None:
    """Issue a server's certificate for each --dns name and --ip address that clients use."""
    from custody.pki.certificates import issue_server as make
    from custody.pki.directory import SERVERS, Directory
    from custody.pki.secrets import Secrets

    with console.operator_errors():
        names = checked_server("issue server", name, dns, ip)
        directory = Directory(folder, Secrets(passphrase_file, pin_file))
        _issue(directory, SERVERS, name, lambda key, issuer: make(name, names, key, issuer, days))


def _issue(directory: Directory, kind: str, name: str, make: Make) -> None:
    from custody.pki.certificates import new_private_key

    directory.require_absent(kind, name)
    issuer = directory.intermediate()
    key = new_private_key()
    leaf = make(key.public_key(), issuer)
    console.out.print(f"Made {directory.add_leaf(kind, name, key, leaf)}", markup=False)


def list_(
    folder: DirOption = DEFAULT_DIR,
    of_root: Annotated[
        bool, typer.Option("--root", help="What the root has issued: the intermediates.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what has expired or is revoked.")
    ] = False,
    as_json: console.Json = False,
) -> None:
    """List what the intermediate has issued, from its index."""
    from datetime import UTC, datetime

    from custody.pki.directory import INTERMEDIATE, ROOT, Directory

    with console.operator_errors():
        index = Directory(folder).records(ROOT if of_root else INTERMEDIATE).read()
        now = datetime.now(UTC)
        found = [each for each in index.certificates if everything or each.state(now) == "valid"]
        if as_json:
            rows = [
                {"state": each.state(now), **each.model_dump(mode="json", exclude={"certificate"})}
                for each in found
            ]
            console.print_json(rows)
            return
        console.print_table(
            ("name", "kind", "state", "expires", "days left", "serial"),
            [
                (
                    each.name,
                    each.kind,
                    each.state(now) if each.revoked is None else f"revoked: {each.revoked.reason}",
                    f"{each.not_after:%Y-%m-%d}",
                    (each.not_after - now).days,
                    each.serial,
                )
                for each in found
            ],
        )


def add_to(application: typer.Typer) -> None:
    """Add the commands of this module."""
    application.add_typer(sign, name="sign")
    application.add_typer(issue, name="issue")
    application.command("list")(list_)
