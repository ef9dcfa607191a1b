"""The space that the audit records of one node may take up in the control plane's database."""

from custody.control_plane.problems import Code, ProblemError

MEGABYTE = 1_000_000
DEFAULT_MEGABYTES = 4096
ROW_BYTES = 300
"""What a record takes up beside its own bytes: two hashes, the row's header and the indexes."""


def require_space(node: str, stored: int, more: int, limit: int) -> None:
    """Raise ProblemError if ``more`` bytes beside the stored ones exceed the limit.

    Nothing is deleted instead: the node still has its records, and an old record may be evidence.
    """
    if stored + more > limit:
        raise ProblemError(
            Code.AUDIT_STORE_FULL,
            f"Node {node} stores {stored // MEGABYTE} MB of audit records here, and may store "
            f"{limit // MEGABYTE} MB. Raise [node_api] audit_megabytes, or delete old records: "
            "control-plane retention set DAYS --node-audit --reason ...",
        )
