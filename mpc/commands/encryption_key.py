"""mpc-signer encryption-key: the backup of the key that encrypts this signer's shares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from custody.backup.errors import NotGood, backup_errors
from custody.node.confirm_command import By, Place, place_of
from custody.runtime.console import EXIT_COULD_NOT_CHECK, Json, out, print_json
from custody.runtime.console import application as new_application
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name

if TYPE_CHECKING:
    from mpc.settings import SignerSettings
    from mpc.shares.key_backup import KeyBackup

File = Annotated[Path, typer.Argument(help="The file that `encryption-key backup` wrote.")]
Identity = Annotated[
    list[Path],
    typer.Option(
        help="A file of mode 0600 with a recipient's private key: age-keygen's, or OpenSSH's. A "
        "passphrase is asked for. May be repeated."
    ),
]


def application(settings_of: Callable[[typer.Context], SignerSettings]) -> typer.Typer:
    app = new_application(
        "The backup of this signer's encryption key: a file of its own, in no other backup."
    )

    @app.command()
    def backup(
        context: typer.Context,
        to: Annotated[Path, typer.Option(help="The new file. Nothing is overwritten.")],
        recipient: Annotated[
            list[str] | None,
            typer.Option(
                help="An age public key, or ssh-ed25519 [default: [encryption] backup_recipients]."
            ),
        ] = None,
        as_json: Json = False,
    ) -> None:
        """Write the encryption key files of the configuration into one file, encrypted with age.

        Its recipients must not be those of [backup]: who opens a backup of the database must not
        get the key with it. Confirm the backup afterwards: until then the signer warns.
        """
        import asyncio

        from custody.runtime.hardening import harden

        with backup_errors():
            harden()
            made = asyncio.run(_backup(settings_of(context), to, recipient))
        if as_json:
            print_json({"file": str(to), **_facts(made)})
            return
        ids = ", ".join(key.id for key in made.keys)
        out.print(f"wrote {to}: encryption key {ids}", markup=False)
        out.print(
            "next: keep it apart from the backups of the database. Where the private key is: "
            f"mpc-signer encryption-key inspect {to.name} --identity FILE. Then here: mpc-signer "
            "encryption-key confirm-backup --code CODE --place TEXT",
            markup=False,
        )

    @app.command()
    def inspect(file: File, identity: Identity, as_json: Json = False) -> None:
        """Decrypt a backup, prove its check values, and show the confirmation code. Show no key.

        Needs no configuration and no database: run it where the private key is.

        Exit code 0: complete; 2: the check could not be done; 3: there is no such file; 4: the file
        is damaged; 5: none of the private keys decrypts it.
        """
        with backup_errors(EXIT_COULD_NOT_CHECK):
            found = _opened(file, identity)
        if as_json:
            print_json({**_facts(found), "confirmation_code": found.confirmation_code})
            return
        out.print(f"signer {found.node}, made at {found.created_at.isoformat()}", markup=False)
        for key in found.keys:
            out.print(f"encryption key {key.id} ({key.file}): complete", markup=False)
        out.print(f"confirmation code: {found.confirmation_code}", markup=False)

    @app.command("confirm-backup")
    def confirm_backup(
        context: typer.Context,
        place: Place,
        code: Annotated[
            str | None, typer.Option(help="The confirmation code that `inspect` showed.")
        ] = None,
        file: Annotated[
            Path | None, typer.Option(help="Instead of a code: open this file here.")
        ] = None,
        identity: Annotated[
            list[Path] | None, typer.Option(help="With --file: a recipient's private key.")
        ] = None,
        by: By = None,
        as_json: Json = False,
    ) -> None:
        """Confirm the backup, by the code in the file or by opening the file on this host.

        The code proves that somebody decrypted the last backup. It is better than --file, which
        brings a recipient's private key to this host. The confirmation is in the audit chain.

        Exit code 0: confirmed; 1: another code, or the file is of another key; 3, 4, 5: as of
        `inspect`.
        """
        import asyncio

        with backup_errors():
            if (code is None) == (file is None) or (file is None) != (not identity):
                raise OperatorError(
                    "what proves the backup?", "Give --code, or --file and --identity."
                )
            opened = None if file is None else _opened(file, identity or [])
            confirmed = asyncio.run(
                _confirm(settings_of(context), code, opened, place_of(place), by or operator_name())
            )
        if as_json:
            print_json(confirmed)
            return
        out.print(f"confirmed: encryption key {', '.join(confirmed)}", markup=False)

    @app.command()
    def restore(
        context: typer.Context, file: File, identity: Identity, as_json: Json = False
    ) -> None:
        """Write the key files of the configuration from a backup, where they do not exist.

        The check values must be those of this signer's database: restore the database first.
        Anybody can encrypt a file to a recipient, so nothing else shows whose keys are in it. No
        file is overwritten.

        Exit code 0: done; 1: failed, or the backup is of another key; 3, 4, 5: as of `inspect`.
        """
        import asyncio

        with backup_errors():
            opened = _opened(file, identity)
            written = asyncio.run(_restore(settings_of(context), opened))
        if as_json:
            print_json({"written": written, **_facts(opened)})
            return
        for path in written:
            out.print(f"wrote {path}", markup=False)
        if not written:
            out.print("each key file is there already, and is the one of the backup")
        out.print("next: mpc-signer doctor, mpc-signer shares verify")

    return app


def _facts(backup: KeyBackup) -> dict[str, Any]:
    keys = [{"id": key.id, "check_value": key.check_value.hex()} for key in backup.keys]
    return {"node": backup.node, "created_at": backup.created_at.isoformat(), "keys": keys}


def _opened(file: Path, identity: list[Path]) -> KeyBackup:
    from custody.backup.age import read_identities
    from custody.runtime.hardening import harden
    from custody.runtime.private_keys import ask_passphrase
    from mpc.shares.key_backup import open_backup

    harden()
    return open_backup(file, read_identities(identity, ask_passphrase))


def _key_files(settings: SignerSettings) -> list[Path]:
    section = settings.encryption
    paths = [*([] if section.key_file is None else [section.key_file]), *section.other_key_files]
    if not paths:
        raise OperatorError(
            "the configuration names no encryption key in a file",
            "The backup of a key in an HSM: docs/how-to/back-up-the-master-key.md.",
        )
    return paths


async def _backup(settings: SignerSettings, to: Path, recipients: list[str] | None) -> KeyBackup:
    from custody.node.connections import open_database
    from custody.node.key_backups import note_made
    from custody.runtime.configuration import write_secret
    from mpc.shares.encryption_keys import known_keys
    from mpc.shares.key_backup import backup_of, same_recipients, sealed

    wanted = recipients or list(settings.encryption.backup_recipients)
    others = () if settings.backup is None else settings.backup.recipients
    if shared := same_recipients(wanted, others):
        raise OperatorError(
            f"{shared[0][:80]} is also in [backup] recipients: one private key would open the "
            "database and the key of its shares",
            "Name other people for the backup of the encryption key.",
        )
    made = backup_of(settings.node.id, _key_files(settings))
    content = sealed(made, wanted)
    async with open_database(settings) as database:
        known = await known_keys(database)
        _require_all(settings, made, known)
        try:
            write_secret(to, content)
        except OSError as error:
            raise OperatorError(
                f"cannot write {to}: {error.strerror}", "Name a new file in a folder of this user."
            ) from None
        values = [key.check_value for key in made.keys]
        await note_made(database, values, made.created_at, made.code_digest)
    return made


def _require_all(settings: SignerSettings, backup: KeyBackup, known: dict[str, bytes]) -> None:
    """Raise NotGood unless the backup has each key of the database that is not in an HSM."""
    missing = sorted(set(known) - {key.id for key in backup.keys})
    if missing and settings.encryption.hsm is None:
        raise NotGood(
            f"shares of this signer are under encryption key {', '.join(missing)}, and the key "
            f"files or the backup have {', '.join(key.id for key in backup.keys)}",
            "Name the right key files in [encryption], or the right backup.",
        )


async def _confirm(
    settings: SignerSettings, code: str | None, opened: KeyBackup | None, place: str, by: str
) -> list[str]:
    from custody.node.audited_changes import AuditedChanges
    from custody.node.connections import open_database
    from custody.node.key_backups import Confirmation, confirm, key_backups
    from mpc.shares.encryption_key import id_of
    from mpc.shares.encryption_keys import known_keys
    from mpc.shares.key_backup import digest_of_code

    async with open_database(settings) as database:
        if opened is not None:
            _require_all(settings, opened, await known_keys(database))
            values = [key.check_value for key in opened.keys]
            proof = "opened on the signer's host"
        else:
            digest = digest_of_code(code or "")
            made = await key_backups(database)
            values = [value for value, each in made.items() if each.code_digest == digest]
            proof = "confirmation code in the backup"
            if not values:
                raise NotGood(
                    "this is not the confirmation code of the last backup that was made here",
                    "Read it again with `encryption-key inspect`, of the newest file; or make a "
                    "new backup.",
                )
        keys = {id_of(value): value for value in values}
        said = Confirmation(by, place, proof)
        await confirm(AuditedChanges(database, settings.node.id), keys, said)
    return sorted(keys)


async def _restore(settings: SignerSettings, backup: KeyBackup) -> list[str]:
    """Write the missing key files. Return their paths. Raise OperatorError."""
    from custody.node.connections import open_database
    from custody.runtime.configuration import write_secret
    from mpc.shares.encryption_key import file_content, load_key_file
    from mpc.shares.encryption_keys import known_keys

    paths = _key_files(settings)
    if len(paths) != len(backup.keys):
        raise OperatorError(
            f"the backup has {len(backup.keys)} keys, and [encryption] names {len(paths)} files",
            "Name one file for each key, in this order: key_file, then other_key_files: "
            f"{', '.join(f'{key.file} ({key.id})' for key in backup.keys)}.",
        )
    async with open_database(settings) as database:
        known = await known_keys(database)
    if not known:
        raise OperatorError(
            "this signer's database knows no encryption key, so nothing shows whose keys the "
            "backup has",
            "Restore the database first: mpc-signer backup restore. A signer without shares needs "
            "no old key: mpc-signer init makes a new one.",
        )
    _require_all(settings, backup, known)
    missing = []
    for path, key in zip(paths, backup.keys, strict=True):
        if not path.exists():
            missing.append((path, key))
        elif load_key_file(path).check_value != key.check_value:
            raise OperatorError(
                f"{path} exists, and is another key than {key.id} of the backup",
                "Nothing was written. Move that file away if it is not needed.",
            )
    for path, key in missing:
        try:
            write_secret(path, file_content(key.key))
        except OSError as error:
            raise OperatorError(
                f"cannot write {path}: {error.strerror}", "Correct that, and repeat the command."
            ) from None
    return [str(path) for path, _ in missing]
