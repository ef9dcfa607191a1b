"""The statement that a driver has signed about an import key, compared with the key's row."""

from collections.abc import Sequence

from pydantic import ValidationError

from custody.node.errors import Denied, Refused
from custody.wire.imports import ImportKeyStatement
from custody.wire.outcomes import Outcome, PreparedImport
from custody.wire.signed_bytes import IMPORT_KEY_TYPE, BadSignedBytes, PinnedKeys, SignedBytes
from hsm_driver.import_keys import StoredImportKey


class StatedImports:
    """Believes statements of this driver, whose identity key is ``own``, and of the ``others``."""

    def __init__(self, own: bytes, others: Sequence[bytes] = ()) -> None:
        self._pinned = PinnedKeys([own, *others])

    def require(self, stored: StoredImportKey) -> None:
        """Raise Denied unless the row says what the driver stated when it made the import key.

        Otherwise a person who writes to the database could give the key that one application has
        encrypted to another application. Raise Refused for a statement of a driver that is not
        pinned: that driver can take the job.
        """
        signed = _statement_in(stored.outcome)
        if signed is None:
            raise Denied("import_mismatch", "this node has no statement of the import key")
        try:
            payload = self._pinned.open(IMPORT_KEY_TYPE, signed)
        except BadSignedBytes as error:
            raise Refused(
                "import_key_missing",
                f"the statement of the import key does not count here: {error}. If another driver "
                "of the group signed it, that driver takes the job, or add its public key to "
                "[key_copies] driver_keys",
            ) from None
        if _facts(ImportKeyStatement.model_validate_json(payload)) != _stored_facts(stored):
            raise Denied(
                "import_mismatch", "the stored import differs from the statement of its import key"
            )


def _statement_in(outcome: bytes | None) -> SignedBytes | None:
    if outcome is None:
        return None
    try:
        result = Outcome.model_validate_json(outcome).result
    except ValidationError:
        return None
    return result.statements[0] if isinstance(result, PreparedImport) else None


def _facts(stated: ImportKeyStatement) -> tuple[object, ...]:
    return (
        stated.import_id,
        stated.application,
        (stated.scheme, stated.curve),
        stated.protection,
        stated.wrapping,
        stated.import_key,
        stated.expires_at,
    )


def _stored_facts(stored: StoredImportKey) -> tuple[object, ...]:
    return (
        stored.import_id,
        stored.application,
        tuple(stored.algorithm),
        stored.protection,
        stored.wrapping,
        stored.import_key,
        stored.expires_at,
    )
