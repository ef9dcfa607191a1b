"""Commands at the authority that take certificates back: ``pki revoke`` and ``pki crl``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from custody.pki.lifetimes import CRL_DAYS, ROOT_CRL_DAYS
from custody.pki.options import DEFAULT_DIR, DirOption, PassphraseOption, PinOption
from custody.pki.reasons import Reason
from custody.runtime import console

RootOption = Annotated[
    bool, typer.Option("--root", help="At the root: about intermediates, not about leaves.")
]


def revoke(
    what: Annotated[
        str,
        typer.Argument(metavar="WHAT", help="A name, a serial, or the file of the certificate."),
    ],
    reason: Annotated[Reason, typer.Option(help="Why; it is public.")] = Reason.UNSPECIFIED,
    of_root: RootOption = False,
    folder: DirOption = DEFAULT_DIR,
) -> None:
    """Record that a certificate must not be accepted any more. It can't be taken back.

    No host knows of it before pki crl has run and the new crl.pem is there.
    """
    from custody.pki.directory import INTERMEDIATE, ROOT, Directory
    from custody.pki.revoking import revoke as record_revocation

    with console.operator_errors():
        authority = ROOT if of_root else INTERMEDIATE
        record = record_revocation(Directory(folder), authority, what, reason)
        assert record.revoked is not None
        console.out.print(
            f"Revoked {record.kind} {record.name}, serial {record.serial}, at "
            f"{record.revoked.at:%Y-%m-%d %H:%M:%S} UTC: {record.revoked.reason}",
            markup=False,
        )
        console.out.print(
            f"Next: pki crl{' --root' if of_root else ''}, then copy crl.pem to every host."
        )


def crl(
    of_root: RootOption = False,
    days: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Days until the CRL expires [default: {CRL_DAYS}; of the root {ROOT_CRL_DAYS}].",
        ),
    ] = None,
    add: Annotated[
        Path | None, typer.Option(help="Add the CRL of the offline root, from this file.")
    ] = None,
    folder: DirOption = DEFAULT_DIR,
    passphrase_file: PassphraseOption = None,
    pin_file: PinOption = None,
) -> None:
    """Sign the next list of revoked certificates, and write it into crl.pem of the PKI's folder.

    Once a host names a CRL file, it refuses everybody when the CRL expires: run this in time, also
    when nothing was revoked.
    """
    from custody.pki.directory import CRL, INTERMEDIATE, ROOT, Directory
    from custody.pki.revoking import publish
    from custody.pki.secrets import Secrets

    with console.operator_errors():
        directory = Directory(folder, Secrets(passphrase_file, pin_file))
        authority = ROOT if of_root else INTERMEDIATE
        made = publish(directory, authority, days or (ROOT_CRL_DAYS if of_root else CRL_DAYS), add)
        console.out.print(
            f"Made CRL {made.number} of the {authority} in {directory.path / CRL}: "
            f"{len(made.revoked)} revoked, valid until {made.next_update:%Y-%m-%d %H:%M} UTC",
            markup=False,
        )
        console.out.print("Next: copy crl.pem to every host, and there: pki install --crl crl.pem")


def add_to(application: typer.Typer) -> None:
    """Add the commands of this module."""
    application.command()(revoke)
    application.command()(crl)
