"""A signer's shares from its share copies, into a fresh database."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.node.connections import open_database
from custody.node.identity import load_identity
from custody.runtime.console import out
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name
from mpc._native import Share
from mpc.layer4.share_copy import ShareCopy
from mpc.recover.customer_private_key import CustomerPrivateKey
from mpc.recover.inventory import Inventory
from mpc.recover.share_file import ShareFile, open_share_file
from mpc.settings import SignerSettings
from mpc.shares import share_queries
from mpc.shares.audited_shares import RESTORE_SHARE
from mpc.shares.encryption_keys import open_encryption_keys
from mpc.shares.shares import Shares
from mpc.shares.stored_share import ShareState, StoredShare


@dataclass
class Restored:
    """``others``: the other signers of the restored keys. ``identity``: this signer's own key.

    ``identities``: the keys that have signed the copies.
    """

    identity: bytes
    shares: int = 0
    already: int = 0
    others: set[str] = field(default_factory=set)
    identities: set[bytes] = field(default_factory=set)

    @property
    def has_new_identity(self) -> bool:
        return self.identities != {self.identity}

    def as_json(self) -> dict[str, Any]:
        return {
            "restored": self.shares,
            "already_there": self.already,
            "other_signers": sorted(self.others),
            "identity_public_key": "0x" + self.identity.hex(),
            "has_new_identity": self.has_new_identity,
        }


def choose(inventory: Inventory, signer: str, ceremonies: Sequence[str]) -> list[ShareFile]:
    """Return a signer's file of each key: of a named set, or of the newest. Raise OperatorError."""
    chosen: list[ShareFile] = []
    named = set(ceremonies)
    for key in inventory.keys:
        own = [
            file
            for each in key.sets
            for index in sorted(each.files)
            for file in each.files[index][:1]
            if file.signer == signer
        ]
        if not own:
            continue
        wanted = [file for file in own if _ceremony(file) in named]
        newest = [file for file in own if _generation(file) == _generation(own[0])]
        candidates = wanted or newest
        if len(candidates) > 1:
            found = ", ".join(_ceremony(file) for file in candidates)
            raise OperatorError(
                f"key {key.facts.key_id} has several sets of one generation: {found}",
                "Ask another signer which one is active (mpc-signer shares list), and give "
                "--ceremony.",
            )
        chosen += candidates
    _check(chosen, inventory, signer, named)
    return chosen


def _check(chosen: Sequence[ShareFile], inventory: Inventory, signer: str, named: set[str]) -> None:
    if not chosen:
        signers = sorted({file.signer for file in inventory.files if file.facts is not None})
        raise OperatorError(
            f"these files have no share of {signer}; they have shares of: "
            f"{', '.join(signers) or 'nobody'}",
            "Give the folder with this signer's share copies, and the key that opens them.",
        )
    if unknown := named - {_ceremony(file) for file in chosen}:
        raise OperatorError(
            f"these files have no share of {signer} of ceremony {', '.join(sorted(unknown))}",
            "See mpc-recover inspect.",
        )
    for file in chosen:
        if any(note.startswith("no signer can be restored") for note in file.notes):
            raise OperatorError(
                f"{file.name}: {'; '.join(file.notes)}",
                "Use the version of this program that made the copy, or repair the share.",
            )
    if len({file.facts.key_id for file in chosen if file.facts}) != len(chosen):
        raise OperatorError(
            "copies of one key id name different public keys",
            "Remove the files that are not of your key: see mpc-recover inspect.",
        )


async def restore(
    settings: SignerSettings,
    files: Sequence[ShareFile],
    customer_key: CustomerPrivateKey,
    reason: str,
) -> Restored:
    """Store the share of each file as active, with an audit record. Raise OperatorError."""
    identity = load_identity(settings.identity.private_key)
    done = Restored(identity.public_key)
    async with (
        open_database(settings) as pool,
        open_encryption_keys(settings) as keys,
    ):
        await _require_fresh(pool, files)
        await keys.adopt_first(pool)
        shares = Shares(pool, keys)
        changes = AuditedChanges(pool, settings.node.id)
        for file in files:
            copy = open_share_file(file, customer_key)
            stored = _active(copy)
            row = await shares.restored_row(stored, Share.load(copy.share))
            values = {name: [value] for name, value in row.values.items()}
            details = {
                "operator": operator_name(),
                "reason": reason,
                "ceremony": str(copy.ceremony),
                "generation": str(copy.generation),
                "public_key": copy.public_key.hex(),
                "file": file.sha256,
            }
            record = record_without_job(RESTORE_SHARE, details, copy.key_id)
            if await changes.commit(row.sql, values, record):
                done.shares += 1
            else:
                done.already += 1
            done.others |= set(copy.signers) - {settings.node.id}
            done.identities.add(copy.identity_public_key)
            again = await shares.active(copy.key_id)  # from the row, under the encryption key
            if again is None or again.ceremony != copy.ceremony:
                raise OperatorError(
                    f"the share of key {copy.key_id} is not active after the restore",
                    "Start again with an empty database.",
                )
            await shares.open(again)
            shares.close(copy.key_id)
    return done


async def _require_fresh(pool: Pool, files: Sequence[ShareFile]) -> None:
    facts = [file.facts for file in files if file.facts is not None]
    (found,) = await pool.rows(
        share_queries.UNRELATED,
        {
            "key_ids": [each.key_id for each in facts],
            "ceremonies": [each.ceremony for each in facts],
        },
    )
    if found.jobs or found.shares:
        raise OperatorError(
            f"the database is in use: it has {found.jobs} jobs and {found.shares} other shares",
            "Name a new, empty database in [database], and run mpc-signer migrate.",
        )


def _active(copy: ShareCopy) -> StoredShare:
    return StoredShare(
        key_id=copy.key_id,
        ceremony=copy.ceremony,
        state=ShareState.ACTIVE,
        generation=copy.generation,
        protocol=copy.protocol,
        group=copy.group,
        threshold=copy.threshold,
        signers=tuple(copy.signers),
        index=copy.index,
        network=copy.network,
        public_key=copy.public_key,
        chain_code=copy.chain_code,
        transcript=copy.transcript,
        made_for=copy.made_for,
        proved_with=tuple(name for name in copy.signers if name != copy.signer),
        is_proved=True,
        encryption_key=None,
        created_at=datetime.now(UTC),
    )


def show(done: Restored, settings: SignerSettings) -> None:
    """Print what was restored, and what this signer still needs."""
    lines = [
        f"restored {done.shares} shares, each opened again under the encryption key; "
        f"{done.already} were there already",
        "next:",
        f"- pin the other signers ({', '.join(sorted(done.others))}): mpc-signer peers add",
        "- bans are not in share copies: once it runs, this signer asks its peers for them, and "
        "takes no work before they have answered (mpc-signer bans answers)",
    ]
    if done.has_new_identity:
        public_key = base64.b64encode(done.identity).decode()
        lines += [
            "- the identity key is new. On every other signer: mpc-signer peers add "
            f"{settings.node.id} --identity {public_key}",
        ]
    else:
        lines.append("- the audit chain is new: mpc-signer audit restored --reason ...")
    lines += [
        "- with Layer 4 on: mpc-signer layer4 backfill",
        "- mpc-signer shares verify, mpc-signer doctor, then start it, and refresh its keys",
    ]
    for line in lines:
        out.print(line, markup=False)


def _ceremony(file: ShareFile) -> str:
    assert file.facts is not None
    return str(file.facts.ceremony)


def _generation(file: ShareFile) -> int:
    assert file.facts is not None
    return file.facts.generation
