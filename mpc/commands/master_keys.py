"""mpc-signer master-key: encryption keys in an HSM that was restored, or that was backed up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from custody.node.confirm_command import check_value_of
from custody.pkcs11.commands import (
    RESTORED_EXAMPLE,
    CheckValues,
    Reason,
    Restored,
    WasExtractable,
    show_adopted,
)
from custody.runtime.console import operator_errors, out
from custody.runtime.errors import OperatorError
from custody.runtime.operators import reason_of

if TYPE_CHECKING:
    from custody.database.pool import Pool
    from mpc.settings import SignerSettings


def add_adopt(app: typer.Typer, settings_of: Callable[[typer.Context], SignerSettings]) -> None:
    """Add the command to the application of master keys."""

    @app.command()
    def adopt(
        context: typer.Context,
        restored: Restored = False,
        reason: Reason = None,
        check_value: CheckValues = None,
        extractable: WasExtractable = False,
    ) -> None:
        """Adopt encryption keys that came from the HSM's backup: they were not made inside it.

        The check values must be those of this signer's database. If the database is new and knows
        none, they must be those that you give with --check-value. Each extraction that `doctor`
        knows is tried, and must fail. The command prints the line of [encryption.hsm] that names
        the keys: the signer starts once its configuration has this line. A new version is not
        adopted: mpc-signer rewrap --to-hsm.
        """
        import asyncio

        with operator_errors():
            if not restored:
                raise OperatorError(
                    "this command adopts restored keys only",
                    "Give --restored. To use a new version of the key: mpc-signer rewrap --to-hsm.",
                )
            settings = settings_of(context)
            noted = [check_value_of(each) for each in check_value or []]
            adopted = asyncio.run(
                _adopt(
                    settings, reason_of(reason, RESTORED_EXAMPLE), noted, extractable=extractable
                )
            )
        if adopted and settings.encryption.hsm is not None:
            show_adopted(
                adopted,
                settings.encryption.hsm,
                f"[encryption.hsm] of {context.find_root().obj}",
                extractable=extractable,
            )
        else:
            out.print("this HSM shows each key as made inside it: no key needs adoption")


async def keys_in_hsm(settings: SignerSettings, database: Pool) -> Mapping[str, bytes]:
    """Return the check values of the token's keys that the database knows, by name.

    Raise OperatorError if the keys are in files.
    """
    from mpc.shares.encryption_key import HsmKey
    from mpc.shares.encryption_keys import known_keys, open_encryption_keys

    if settings.encryption.hsm is None:
        raise OperatorError(
            "the configuration names no token: this signer's keys are in files",
            "Confirm their backup with: mpc-signer encryption-key confirm-backup",
        )
    async with open_encryption_keys(settings, database) as keys:
        known = await known_keys(database)
        return {
            key.name: key.check_value
            for key in keys
            if isinstance(key, HsmKey) and known.get(key.id) == key.check_value
        }


async def _adopt(
    settings: SignerSettings, reason: str, noted: Sequence[bytes], *, extractable: bool
) -> dict[str, bytes]:
    from custody.node.audited_changes import AuditedChanges
    from custody.node.connections import open_database
    from custody.node.restored_keys import adopt_restored
    from custody.pkcs11.administration import administration
    from custody.pkcs11.restoring import imported_keys, require_expected, require_strong
    from custody.runtime.operators import operator_name
    from mpc.shares.encryption_keys import (
        hsm_settings,
        known_keys,
        known_to_token,
        record_new_proofs,
    )

    async with (
        open_database(settings) as database,
        administration(hsm_settings(settings), await known_to_token(database)) as token,
    ):
        keys = await imported_keys(token, only_encrypting=True)
        known = await known_keys(database)
        require_expected(keys, known.values(), noted)
        await require_strong(
            token, keys, stored_keys=False, rewrappable=False, extractable=extractable
        )
        adopted = {key.name: key.pins[0] for key in keys if key.pins}
        if adopted:
            changes = AuditedChanges(database, settings.node.id)
            await adopt_restored(
                changes, adopted, extractable=extractable, operator=operator_name(), reason=reason
            )
            # The configuration may name a new proof: the database then has to have it.
            await record_new_proofs(changes, keys, operator_name())
    return adopted
