"""Compare tokens and nodes of the database with the audit records that say who made them.

A row gives access by itself. A person who writes to the database can add and change rows, but
cannot write a record, because the job-signing key signs the records.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from pydantic import BaseModel, ValidationError

from custody.control_plane.database import AnyRow
from custody.database.retention import Rows

Facts = dict[str, str | None]

_SERIAL, _BEGIN = _CERTIFICATE = ("certificate_serial", "certificates_from")
"""The certificate of a node: its serial number in hex, and when it begins."""


def token_facts(row: AnyRow) -> Facts:
    """Return what a record states of a token, from its row or from a ``NewToken``.

    The hash is not a secret: the token's text has 256 random bits.
    """
    return {
        "application_id": str(row.application_id),
        "hash": row.hash.hex(),
        "scopes": " ".join(row.scopes),
        "expires_at": _moment(row.expires_at) or "never",
    }


def node_facts(row: AnyRow) -> Facts:
    """Return what a record states of a node, from its row."""
    return {
        "group": row.node_group,
        "owner": row.owner,
        _BEGIN: _moment(row.certificates_from),
    }


def certificate_facts(certificate: x509.Certificate | None) -> Facts:
    """Return what a record states of the certificate that `node add` was given."""
    if certificate is None:
        return dict.fromkeys(_CERTIFICATE)
    serial, begin = f"{certificate.serial_number:x}", certificate.not_valid_before_utc
    return {_SERIAL: serial, _BEGIN: _moment(begin)}


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()


@dataclass(frozen=True)
class AccessRows:
    """A table whose rows have records of the kind ``added``.

    ``what`` names a row, and its id in a record. ``removed``: the kind of the record that ends the
    access. ``kept``: the kind of the record that states a row again when a prune deletes its
    record. ``query`` returns the rows that give access now. ``withdraw``: the command for a row
    that nobody added.
    """

    what: str
    added: str
    removed: str
    kept: str
    query: str
    facts: Callable[[AnyRow], Facts]
    withdraw: str


TABLES = (
    AccessRows(
        "token",
        "CreateToken",
        "RevokeToken",
        "KeepToken",
        "SELECT id, application_id, hash, scopes, expires_at FROM tokens WHERE revoked_at IS NULL "
        "AND (expires_at IS NULL OR expires_at > now()) ORDER BY created_at, id",
        token_facts,
        "control-plane token revoke",
    ),
    AccessRows(
        "node",
        "AddNode",
        "RemoveNode",
        "KeepNode",
        "SELECT id, node_group, owner, certificates_from FROM nodes ORDER BY id",
        node_facts,
        "control-plane node remove",
    ),
)


class _Record(BaseModel):
    kind: str
    details: dict[str, str | None]


@dataclass(frozen=True)
class _Stated:
    """What the last record about a row states. ``details`` is None if it ended the access."""

    sequence: int
    details: Mapping[str, str | None] | None


def _stated(sequence: int, details: Facts, before: _Stated | None) -> _Stated:
    """Return what a new record states. A node that is added again keeps its certificate."""
    if before is None or before.details is None or details.get(_BEGIN) is not None:
        return _Stated(sequence, details)
    kept = {name: before.details[name] for name in _CERTIFICATE if name in before.details}
    others = {name: value for name, value in details.items() if name not in _CERTIFICATE}
    return _Stated(before.sequence, {**others, **kept})


@dataclass
class AccessCheck:
    """Remembers what the records of a chain state about each row, and compares the rows with it.

    ``notes``: what a record of an earlier version does not state, so that nobody can compare it.
    """

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _stated: dict[tuple[str, str], _Stated] = field(default_factory=dict)
    _live: list[tuple[AccessRows, _Stated]] = field(default_factory=list)

    def note(self, sequence: int, record: bytes) -> None:
        """Note a record, in the order of the chain. A record that does not parse states nothing."""
        try:
            said = _Record.model_validate_json(record)
        except ValidationError:
            return
        for table in TABLES:
            name = said.details.get(table.what)
            if name is None:
                continue
            if said.kind in (table.added, table.kept):
                before = self._stated.get((table.what, name))
                self._stated[table.what, name] = _stated(sequence, said.details, before)
            elif said.kind == table.removed:
                self._stated[table.what, name] = _Stated(sequence, None)

    async def compare(self, rows: Rows) -> None:
        """Add a finding for each row that the noted records do not state."""
        for table in TABLES:
            for row in await rows(table.query, {}):
                self._compare(table, str(row.id), table.facts(row))

    def _compare(self, table: AccessRows, name: str, facts: Facts) -> None:
        row, stated = f"{table.what} {name}", self._stated.get((table.what, name))
        unless = f"If none of your operators did it: {table.withdraw} {name}"
        if stated is None:
            why = "no record says who added it: somebody else may have added the row"
            self.findings.append(f"the database has the {row}, but {why}. {unless}")
            return
        if stated.details is None:
            why = f"after record {stated.sequence} took its access away"
            self.findings.append(f"somebody gave the {row} access again, {why}. {unless}")
            return
        self._live.append((table, stated))
        missing = [fact for fact in facts if fact not in stated.details]
        changed = [
            fact for fact in facts if fact not in missing and facts[fact] != stated.details[fact]
        ]
        if changed:
            what = f"differs from record {stated.sequence} in {', '.join(changed)}"
            self.findings.append(f"the {row} {what}: somebody has changed the row. {unless}")
        if missing:
            what = f"record {stated.sequence} of an earlier version does not state"
            self.notes.append(f"{what} {', '.join(missing)} of the {row}: this was not compared")

    def stated_before(self, sequence: int) -> list[tuple[str, Mapping[str, str | None]]]:
        """Return kind and details of the records that a prune needs for the rows it compared.

        These are the rows whose own records come before ``sequence``.
        """
        return [
            (table.kept, stated.details)
            for table, stated in self._live
            if stated.details is not None and stated.sequence < sequence
        ]
