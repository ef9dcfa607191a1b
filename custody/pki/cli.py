"""The ``pki`` command: its authorities here, the other commands in modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custody.pki import host_commands, issuing_commands, revocation_commands, show_command
from custody.pki.lifetimes import INTERMEDIATE_DAYS, ROOT_DAYS
from custody.pki.options import (
    DEFAULT_DIR,
    DaysOption,
    DirOption,
    PassphraseOption,
    PinOption,
    network,
)
from custody.runtime import console
from custody.runtime.errors import OperatorError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from custody.pki.authority_keys import KeyFile
    from custody.pki.secrets import Secrets


application = console.application(
    "Certificates for mutual TLS: a root, an intermediate under it, and a leaf for each node "
    "and server.\n\nAt the authority: pki root, then pki intermediate. On each host: pki csr. At "
    "the authority: pki sign. On the host: pki install. Move the root's folder offline as soon as "
    "the intermediate exists."
)

NameOption = Annotated[str, typer.Option(help="The authority's common name.")]
UnencryptedOption = Annotated[
    bool,
    typer.Option("--unencrypted", help="Write the private key without a passphrase, for a trial."),
]
ModuleOption = Annotated[
    Path | None,
    typer.Option(help="Make the key in an HSM: path of the PKCS#11 module.", exists=True),
]
TokenOption = Annotated[
    str | None, typer.Option("--token", help="Make the key in an HSM: label of the token.")
]


@application.command()
def root(
    folder: DirOption = DEFAULT_DIR,
    name: NameOption = "Custody root CA",
    days: DaysOption = ROOT_DAYS,
    passphrase_file: PassphraseOption = None,
    unencrypted: UnencryptedOption = False,
    module: ModuleOption = None,
    token: TokenOption = None,
    pin_file: PinOption = None,
) -> None:
    """Make the root certificate, which every process trusts.

    Its private key is needed only to make intermediates and to revoke them. Keep it offline.
    """
    from custody.pki import certificates
    from custody.pki.directory import ROOT, Directory
    from custody.pki.secrets import Secrets

    with console.operator_errors():
        directory = Directory(folder)
        directory.require_absent(ROOT)
        secrets = Secrets(passphrase_file, pin_file)
        key, key_file = _new_key(name, secrets, unencrypted, module, token)
        certificate = certificates.issue_root(name, key, days)
        _say_made(directory.add_authority(ROOT, key_file, certificate))
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
    passphrase_file: PassphraseOption = None,
    unencrypted: UnencryptedOption = False,
    module: ModuleOption = None,
    token: TokenOption = None,
    pin_file: PinOption = None,
    root_passphrase_file: PassphraseOption = None,
    root_pin_file: PinOption = None,
) -> None:
    """Make the intermediate, which issues the leaves.

    Its private key can issue an identity for any node: keep the key off the nodes' hosts.
    """
    from custody.pki import certificates
    from custody.pki.directory import INTERMEDIATE, Directory
    from custody.pki.names import ServerNames
    from custody.pki.secrets import Secrets

    with console.operator_errors():
        secrets = Secrets(passphrase_file, pin_file)
        directory = Directory(
            folder, secrets, Secrets(root_passphrase_file, root_pin_file, "root-")
        )
        directory.require_absent(INTERMEDIATE)
        permitted_networks = [network(text) for text in permit_ip or []]
        issuer = directory.root()
        key, key_file = _new_key(name, secrets, unencrypted, module, token)
        certificate = certificates.issue_intermediate(
            name,
            key.public_key(),
            issuer,
            days,
            ServerNames(dns=permit_dns or []),
            permitted_networks,
        )
        made = directory.add_authority(INTERMEDIATE, key_file, certificate, issuer.certificate)
        _say_made(made)
        console.out.print(
            "Next: on each host pki csr node ID, or pki csr server NAME --dns HOST; here pki sign."
        )


def _new_key(
    name: str, secrets: Secrets, unencrypted: bool, module: Path | None, token: str | None
) -> tuple[ec.EllipticCurvePrivateKey, KeyFile]:
    """Make an authority's key, and the file for its folder. Raise OperatorError."""
    from custody.pki import authority_keys, certificates
    from custody.pki.token_key import TokenKey

    if module is not None and token is not None:
        in_token = TokenKey.generate(module, token, name, secrets)
        return in_token, authority_keys.token_file(in_token)
    if module is not None or token is not None:
        raise OperatorError("--module and --token belong together", "Give both, or none.")
    key = certificates.new_private_key()
    if unencrypted:
        return key, authority_keys.plain_file(key)
    return key, authority_keys.encrypted_file(key, secrets.new_passphrase(f"the new key of {name}"))


def _say_made(path: Path) -> None:
    console.out.print(f"Made {path}", markup=False)


issuing_commands.add_to(application)
host_commands.add_to(application)
revocation_commands.add_to(application)
show_command.add_to(application)


def main() -> None:
    application()
