"""What a restored signer may have forgotten: it then neither uses a share nor states its set."""

from custody.node.errors import Failed
from mpc.restored.watch import RestoreWatch
from mpc.shares.stored_share import StoredShare


def require_certain(stored: StoredShare) -> None:
    """Raise a transient Failed for a restored share whose set t signers have not named.

    The set may have been replaced or abandoned since. This signer may even have abandoned it.
    """
    if stored.is_uncertain:
        raise Failed(
            "set_uncertain",
            f"this signer's share of set {stored.ceremony} was restored, and no {stored.threshold} "
            "signers have said that they use this set. See mpc-signer shares list. Then have the "
            "signers asked again (mpc-signer bans ask-again), or repair the share.",
            transient=True,
        )


def require_remembered(stored: StoredShare, restore_watch: RestoreWatch) -> None:
    """Raise Failed for a set that a restored database contains as confirmed.

    This signer may have promised or abandoned the set after the backup. A second, other statement
    about the set would make it a liar (ADR 18). So only its operator decides.
    """
    noticed_at = restore_watch.noticed_at
    if stored.is_confirmed and noticed_at is not None and stored.created_at < noticed_at:
        raise Failed(
            "set_uncertain",
            f"the database was restored from a backup in which the set {stored.ceremony} was "
            "pending: this signer may have promised or abandoned it since. Compare all signers "
            "(mpc-signer shares list). If one has the set active or repaired, certain or not, keep "
            "it (docs/how-to/conflicting-share-sets.md). If none has it, on each signer run: "
            f"mpc-signer shares discard {stored.key_id} {stored.ceremony} --reason TEXT",
        )
