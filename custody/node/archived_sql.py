"""The SQL condition that a key is archived: its last change of one side says so."""

ROOT = "m"
"""The path of a key that is not derived."""

STILL_ARCHIVED = """
    last.is_archived AND NOT EXISTS (
        SELECT FROM archivals AS later
        WHERE later.root_id = last.root_id AND later.path = last.path
            AND later.changed_by = last.changed_by AND later.number > last.number
    )
"""
"""The condition that the row ``last`` of archivals is the last change of its side."""

_IS_ARCHIVED = f"""
    EXISTS (
        SELECT FROM archivals AS last
        WHERE last.root_id = {{root_id}} AND starts_with({{path}} || '/', last.path || '/')
            AND {STILL_ARCHIVED}
    )
"""


def is_archived(root_id: str, path: str) -> str:
    """Return the condition that a key, or one that it is derived from, is archived.

    The arguments are SQL expressions: the id of the root, and the path from there.
    """
    return _IS_ARCHIVED.format(root_id=root_id, path=path)
