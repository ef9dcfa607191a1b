"""A signer's shares from its share copies, into a fresh database."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.node.connections import open_database
from custody.node.identity import load_identity
from custody.node.only_process import stopped_node
from custody.runtime.console import out
from custody.runtime.errors import OperatorError
from custody.runtime.operators import operator_name
from custody.wire.encoding import to_base64
from mpc._native import Share
from mpc.layer4.share_copy import ShareCopy
from mpc.recover.contents import FolderContents
from mpc.recover.customer_private_key import CustomerPrivateKey
from mpc.recover.share_file import ShareFile, open_share_file
from mpc.recover.share_set import SetFacts
from mpc.settings import SignerSettings
from mpc.shares import share_queries
from mpc.shares.audited_shares import RESTORE_SHARE
from mpc.shares.encryption_keys import open_encryption_keys
from mpc.shares.shares import Shares
from mpc.shares.stored_share import ShareState, StoredShare

MAX_SHOWN = 10
"""Keys that one error names."""


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
            "signed_by": sorted(map(to_base64, self.identities)),
        }


def choose(
    contents: FolderContents,
    signer: str,
    identity: bytes,
    ceremonies: Collection[UUID] = (),
    signed_by: Collection[bytes] = (),
) -> list[ShareFile]:
    """Return one file of each key of which the files have a share of ``signer``.

    ``identity``: this signer's present identity public key (Ed25519, 32 bytes). ``ceremonies``: of
    the sets to take. ``signed_by``: the identity public keys whose copies count; empty for
    ``identity`` alone.

    Raises OperatorError if a key has several sets and none of them is named, and if another
    identity has signed a copy that nobody named: somebody who can write to the bucket could have
    replaced all copies.
    """
    sets = _sets_of(contents, signer, signed_by)
    chosen: list[ShareFile] = []
    several: list[str] = []
    for key_id, found in sets.items():
        named = {facts: files for facts, files in found.items() if facts.ceremony in ceremonies}
        candidates = named or found
        if len(candidates) > 1:
            several.append(f"key {key_id}: {', '.join(sorted(_described(candidates)))}")
        chosen += [file for files in candidates.values() for file in files]
    _require_some(chosen, contents, signer, signed_by)
    if several:
        shown = "; ".join(several[:MAX_SHOWN])
        raise OperatorError(
            f"{len(several)} keys have copies of several sets: {shown}",
            "On another signer, see which set of each key is active (mpc-signer shares list). Give "
            "--ceremony for each of these keys, or a file of them with --ceremonies.",
        )
    _require_own_identity(chosen, identity, signed_by)
    for file in chosen:
        if file.restore_fault is not None:
            raise OperatorError(
                f"{file.name}: no signer can be restored with it: {file.restore_fault}",
                "Use the version of this program that made the copy, or repair the share.",
            )
    by_key: dict[UUID, ShareFile] = {}
    for file in chosen:  # the same share may have several copies
        by_key.setdefault(_facts(file).key_id, file)
    return list(by_key.values())


def _sets_of(
    contents: FolderContents, signer: str, signed_by: Collection[bytes]
) -> dict[UUID, dict[SetFacts, list[ShareFile]]]:
    """Return the copies of a signer's shares by key id and set."""
    found: dict[UUID, dict[SetFacts, list[ShareFile]]] = {}
    for file in contents.files:
        if file.facts is None or file.signer != signer:
            continue
        if not signed_by or file.identity_public_key in signed_by:
            found.setdefault(file.facts.key_id, {}).setdefault(file.facts, []).append(file)
    return found


def _described(candidates: Mapping[SetFacts, Sequence[ShareFile]]) -> Iterator[str]:
    for facts, files in candidates.items():
        by = ", ".join(sorted({to_base64(file.identity_public_key) for file in files}))
        yield f"{facts.ceremony} (generation {facts.generation}, signed by {by})"


def _require_some(
    chosen: Sequence[ShareFile], contents: FolderContents, signer: str, signed_by: Collection[bytes]
) -> None:
    if chosen:
        return
    signers = sorted({file.signer for file in contents.files if file.facts is not None})
    by = f" that {' or '.join(map(to_base64, signed_by))} has signed" if signed_by else ""
    raise OperatorError(
        f"these files have no share of {signer}{by}; they have shares of: "
        f"{', '.join(signers) or 'nobody'}",
        "Give the folder with this signer's share copies, and the key that opens them.",
    )


def require_known(contents: FolderContents, signer: str, ceremonies: Collection[UUID]) -> None:
    """Raise OperatorError if the files have no share of a ceremony, as after a typing error."""
    found = {
        file.facts.ceremony
        for file in contents.files
        if file.facts is not None and file.signer == signer
    }
    if unknown := set(ceremonies) - found:
        raise OperatorError(
            f"these files have no share of {signer} of ceremony "
            f"{', '.join(sorted(map(str, unknown)))}",
            "See mpc-recover inspect.",
        )


def _require_own_identity(
    chosen: Sequence[ShareFile], identity: bytes, signed_by: Collection[bytes]
) -> None:
    identities = {file.identity_public_key for file in chosen}
    if not signed_by and identities != {identity}:
        raise OperatorError(
            "another identity key than this signer's has signed copies: these are signed by "
            f"{', '.join(sorted(map(to_base64, identities)))}; this signer's is "
            f"{to_base64(identity)}",
            "If this signer has had another identity key: on another signer, see the one that is "
            "pinned (mpc-signer peers list). If it is one of these, give it with --signed-by. Give "
            "no identity that no other signer has pinned: its copies may be forged.",
        )


def read_ceremonies(path: Path) -> set[UUID]:
    """Read the ids of ceremonies from a file, one in each line. Raise OperatorError."""
    try:
        return {UUID(line.strip()) for line in path.read_text().splitlines() if line.strip()}
    except (OSError, ValueError) as error:
        raise OperatorError(
            f"cannot read ceremonies from {path}: {error}", "Give a file with one id in each line."
        ) from None


async def restore(
    settings: SignerSettings,
    files: Sequence[ShareFile],
    customer_key: CustomerPrivateKey,
    reason: str,
) -> Restored:
    """Store the share of each file, with an audit record. Raise OperatorError.

    The shares are active and uncertain: they sign once t signers have named their sets. At its next
    start the signer notices the restore, also if it has started with this database before.
    """
    identity = load_identity(settings.identity.private_key)
    done = Restored(identity.public_key)
    async with (
        open_database(settings) as pool,
        stopped_node(pool, settings.node.id),
        open_encryption_keys(settings, pool) as keys,
    ):
        await _require_fresh(pool, files)
        await keys.adopt_first(pool)
        shares = Shares(pool, keys)
        changes = AuditedChanges(pool, settings.node.id)
        for file in files:
            copy = _opened(file, customer_key)
            stored = _active(copy)
            row = await shares.restored_row(stored, Share.load(copy.share))
            details = {
                "operator": operator_name(),
                "reason": reason,
                "ceremony": str(copy.ceremony),
                "generation": str(copy.generation),
                "public_key": copy.public_key.hex(),
                "file": file.sha256,
            }
            record = record_without_job(RESTORE_SHARE, details, copy.key_id)
            if await changes.commit(row.sql, row.alone, record):
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


def _opened(file: ShareFile, customer_key: CustomerPrivateKey) -> ShareCopy:
    try:
        return open_share_file(file, customer_key)
    except (OSError, ValueError) as error:
        raise OperatorError(
            f"cannot read {file.name} again: {error}",
            "Run the command again, with files that nobody changes.",
        ) from None


async def _require_fresh(pool: Pool, files: Sequence[ShareFile]) -> None:
    facts = [_facts(file) for file in files]
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
    me = settings.node.id
    lines = [
        f"restored {done.shares} shares, each opened again under the encryption key; "
        f"{done.already} were there already",
        f"their copies were signed by {' and '.join(sorted(map(to_base64, done.identities)))}: "
        "compare this with what the other signers have pinned (mpc-signer peers list)",
        "next:",
        f"- pin the other signers ({', '.join(sorted(done.others))}): mpc-signer peers add",
        "- bans are not in share copies: once it runs, this signer asks its peers for them, and "
        "takes no work before they have answered (mpc-signer bans answers)",
        "- a restored share is uncertain: it signs once the other signers have said that they use "
        "its set (mpc-signer shares list)",
    ]
    if done.has_new_identity:
        lines += [
            "- the identity key is new. On every other signer: mpc-signer peers remove "
            f"{me}, then mpc-signer peers add {me} --identity {to_base64(done.identity)}",
            f"- at the control plane: control-plane node remove {me} --with-audit-heads, then "
            f"control-plane node add {me}, with its group and owner",
        ]
    else:
        lines.append("- the audit chain is new: mpc-signer audit restored --reason ...")
    lines += [
        "- with Layer 4 on: mpc-signer layer4 backfill",
        "- mpc-signer shares verify, mpc-signer doctor, then start it, and refresh its keys",
    ]
    for line in lines:
        out.print(line, markup=False)


def _facts(file: ShareFile) -> SetFacts:
    assert file.facts is not None
    return file.facts
