"""Names and tags of wallets and keys in the database.

Tags have a table of their own, whose index has the resources of a tag in the order of lists. So a
page of a list by tag reads as many rows as it shows, whether the tag is rare or frequent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from custody.control_plane.columns import columns
from custody.control_plane.database import Database
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.pages import Condition
from custody.database.connection import Connection
from custody.wire.metadata import UpdateMetadata


class Tagged(Protocol):
    """A wallet or key that tags belong to."""

    @property
    def id(self) -> UUID: ...
    @property
    def application_id(self) -> UUID: ...
    @property
    def created_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class _TagRow:
    id: UUID
    tag: str
    application_id: UUID
    created_at: datetime


_SELECTED = """
    {table}.name, ARRAY(
        SELECT tag FROM {tags} WHERE {subject} = {table}.id ORDER BY tag COLLATE "C") AS tags
"""

_ADD = """
    INSERT INTO {tags} ({subject}, tag, application_id, created_at)
    SELECT * FROM unnest(CAST(:id AS uuid[]), CAST(:tag AS varchar[]),
        CAST(:application_id AS uuid[]), CAST(:created_at AS timestamptz[]))
    ON CONFLICT DO NOTHING
"""

_DROP = "DELETE FROM {tags} WHERE {subject} = :id"

# it also locks the row, so that two changes of tags follow each other
_RENAME = """
    UPDATE {table} SET name = CASE WHEN :renames THEN CAST(:name AS varchar) ELSE name END
    WHERE id = :id AND application_id = :application
    RETURNING id, application_id, created_at
"""


_TAGGED = """
    JOIN {tags} AS tagged ON tagged.{subject} = {table}.id
        AND tagged.application_id = :application AND tagged.tag = :tag_0
"""

# a subquery that PostgreSQL does not turn into a join: it looks up each row that is read
_HAS_TAG = "(SELECT true FROM {tags} WHERE {subject} = {table}.id AND tag = :{parameter})"

_OF_TAG = """
    SELECT created_at, {subject} AS id FROM {tags}
    WHERE application_id = :application AND tag = :{parameter}
"""


class ResourceMetadata:
    """Name and tags of the rows of one table.

    ``table``: its name. ``selected``: the columns ``name`` and ``tags`` of a SELECT from it.
    """

    def __init__(self, table: str, tags: str, subject: str) -> None:
        """``tags``: the table of tags, whose column ``subject`` has the id of a row."""

        def filled(sql: str) -> str:
            named = sql.replace("{table}", table).replace("{tags}", tags)
            return named.replace("{subject}", subject)

        self.selected = filled(_SELECTED)
        self._add, self._drop, self._rename = map(filled, (_ADD, _DROP, _RENAME))
        self._tagged, self._has_tag = filled(_TAGGED), filled(_HAS_TAG)
        self._of_tag = filled(_OF_TAG)
        self._order = "tagged.created_at", f"tagged.{subject}"
        self.table = table

    def have_tags(self, tags: Sequence[str]) -> Condition:
        """Return the condition that a row of an application has all tags, of which there is one.

        :application is the application's id. The rows of the first tag are read in the order of
        the list, and the others' tags are looked up.
        """
        others = self.are_tagged(tags[1:])
        parameters = {"tag_0": tags[0], **others.parameters}
        return Condition(others.text, parameters, self._tagged, self._order)

    def are_tagged(self, tags: Sequence[str]) -> Condition:
        """Return the condition that a row has all tags, which are looked up for each row."""
        parameters = {f"tag_{number}": tag for number, tag in enumerate(tags, start=1)}
        looked_up = [self._has_tag.replace("{parameter}", name) for name in parameters]
        return Condition(" AND ".join(["true", *looked_up]), parameters)

    def rows_of_tag(self, parameter: str) -> str:
        """Return SQL of created_at and id of the rows of an application with a tag."""
        return self._of_tag.replace("{parameter}", parameter)

    async def add_tags(
        self, connection: Connection, tagged: Sequence[tuple[Tagged, Sequence[str]]]
    ) -> None:
        """Add the tags of rows that are in the database."""
        rows = [
            _TagRow(row.id, tag, row.application_id, row.created_at)
            for row, tags in tagged
            for tag in tags
        ]
        if rows:
            await connection.rows(self._add, columns(_TagRow, rows))

    async def update(
        self, database: Database, application_id: UUID, id_: UUID, change: UpdateMetadata
    ) -> None:
        """Change the fields that ``change`` sets (RFC 7396). Raise ProblemError not_found."""
        given = change.model_fields_set
        values = {
            "id": id_,
            "application": application_id,
            "renames": "name" in given,
            "name": change.name,
        }

        async def write(connection: Connection) -> None:
            row = await connection.row(self._rename, values)
            if row is None:
                raise ProblemError(Code.NOT_FOUND, f"There is nothing with id {id_} here.")
            if "tags" in given:
                await connection.rows(self._drop, {"id": id_})
                await self.add_tags(connection, [(row, change.tags or ())])

        await database.in_transaction(write)


WALLET_METADATA = ResourceMetadata("wallets", "wallet_tags", "wallet_id")
KEY_METADATA = ResourceMetadata("keys", "key_tags", "key_id")
