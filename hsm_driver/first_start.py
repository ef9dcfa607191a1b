"""Whether a driver may learn the token's master keys: only at the first start on a new database.

Somebody who empties ``master_keys`` would otherwise have a driver adopt whatever is on the token.
"""

from pathlib import Path

from custody.database.pool import Pool
from custody.runtime.configuration import replace_file
from custody.runtime.errors import OperatorError

MARK = "master-keys-learned"
"""A file of the state directory: a driver of this host has known the master keys of a database."""

_TRACES = """
    SELECT EXISTS (SELECT FROM wrapped_keys) AS wrapped_keys,
        EXISTS (SELECT FROM key_proofs) AS key_proofs,
        EXISTS (SELECT FROM audit WHERE position('"AdoptMasterKey"'::bytea IN record) > 0) AS audit
"""


async def require_first_start(database: Pool, state_directory: Path) -> None:
    """Raise OperatorError unless nothing shows that the database has known master keys before.

    Call this for a database that knows no master key.
    """
    row = (await database.rows(_TRACES))[0]
    traces = [
        what
        for is_there, what in (
            (row.wrapped_keys, "it has wrapped keys"),
            (row.key_proofs, "it has proofs of master keys"),
            (row.audit, "its audit chain has adoptions of master keys"),
            ((state_directory / MARK).exists(), f"{state_directory / MARK} says so"),
        )
        if is_there
    ]
    if traces:
        raise OperatorError(
            "the database knows no master key, but it or a database before it knew some: "
            f"{'; '.join(traces)}",
            "If somebody emptied master_keys, find out who, and restore the backup of the "
            "database. If the database is new, or cannot be restored: hsm-driver master-key "
            "adopt, after you have compared the check values with those that you noted.",
        )


def remember_master_keys(state_directory: Path) -> None:
    """Leave the mark, on disk when this returns."""
    if not (state_directory / MARK).exists():
        state_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(state_directory / MARK, b"")
