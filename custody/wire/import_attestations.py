"""Check that import keys are those of a reader's pinned nodes. Pure.

The check does not trust the API: a private key is encrypted to what has passed it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from custody.wire.algorithms import Algorithm, Protection, Store
from custody.wire.attestations import PinnedNodes, Unattested
from custody.wire.group_sizes import MAX_SIGNERS
from custody.wire.imports import ImportKeyStatement
from custody.wire.signed_bytes import IMPORT_KEY_TYPE, SignedBytes


@dataclass(frozen=True)
class AskedImport:
    """The import that a reader asked for. ``group``: the signer group; None for store hsm."""

    id: UUID
    store: Store
    algorithm: Algorithm
    group: str | None


def check_import(
    statements: Sequence[SignedBytes], asked: AskedImport, pinned: PinnedNodes
) -> list[ImportKeyStatement]:
    """Return the statements of the pinned nodes about the import. Raise Unattested."""
    if not 1 <= len(statements) <= MAX_SIGNERS:
        raise Unattested(f"there are {len(statements)} statements, not 1 to {MAX_SIGNERS}")
    found = [
        pinned.open_as(ImportKeyStatement, IMPORT_KEY_TYPE, asked.store, signed)
        for signed in statements
    ]
    first = found[0]
    if any(each.agreed != first.agreed for each in found[1:]):
        raise Unattested("the signers' statements about import keys differ")
    if sorted(each.node for each in found) != sorted(first.signers):
        raise Unattested("each named node must state its import key exactly once")
    if (first.import_id, Algorithm(first.scheme, first.curve)) != (asked.id, asked.algorithm):
        raise Unattested("the import keys are for another import or algorithm")
    if first.application != pinned.application:
        raise Unattested(
            "the import keys are for another application, or the nodes have not pinned this "
            "application's key (apps add)"
        )
    if any(each.expires_at <= datetime.now(UTC) for each in found):
        raise Unattested("the import keys have expired, or the clocks disagree")
    _require_holders(first, asked, pinned)
    return found


def _require_holders(first: ImportKeyStatement, asked: AskedImport, pinned: PinnedNodes) -> None:
    if (first.protection is Protection.MPC) != (asked.store is Store.MPC):
        raise Unattested(f"the import keys are for keys of protection {first.protection}")
    if asked.store is Store.HSM:
        pinned.require_drivers_group(first.group, first.node)
        return
    if first.group != asked.group:
        raise Unattested(f"the import keys are of the group {first.group!r}, not {asked.group!r}")
    pinned.require_signer_group(first.group, first.threshold, first.signers)
