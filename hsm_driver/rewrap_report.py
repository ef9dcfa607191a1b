"""What hsm-driver master-key rewrap has found and done, for its operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from custody.runtime.console import err, out, print_table

if TYPE_CHECKING:
    from hsm_driver.key_verification import BadKey
    from hsm_driver.rewrap_kinds import Kind

COLUMNS = ("master key", "to", "algorithm", "protection", "keys", "can be rewrapped")
LOCKED = (
    "Keys that cannot be rewrapped stay under their master key: "
    "docs/how-to/rewrap-the-master-key.md says what their owner can do."
)
RETIRED = (
    "Restart each driver of the group before you delete a retired master key with the vendor's "
    "tool. Keep it in the HSM's backup as long as you keep backups of the database, or copies of "
    "wrapped keys, from before."
)


@dataclass
class Report:
    """``kinds``: before the work. ``failed``: keys that could not be used. ``left``: as after it.

    ``retired``: the names of the master keys that were retired. ``copied``: keys that got a copy
    without being rewrapped. ``copies_missing``: how many a dry run found to be missing; None if it
    was not asked.
    """

    newest: list[str]
    kinds: list[Kind]
    failed: list[BadKey]
    rewrapped: int = 0
    left: int = 0
    retired: list[str] = field(default_factory=list)
    copied: int = 0
    copies_missing: int | None = None

    @property
    def is_whole(self) -> bool:
        """Return whether each key is, or can be, under the newest master key."""
        return not self.left and not self.failed and not any(kind.why_not for kind in self.kinds)


def show_kinds(kinds: Sequence[Kind]) -> None:
    """Print the table of kinds, unless there are none."""
    if kinds:
        print_table(COLUMNS, [_row(kind) for kind in kinds])


def _row(kind: Kind) -> tuple[object, ...]:
    can = "yes" if kind.why_not is None else f"no: {kind.why_not}"
    return (kind.master_key, kind.to, kind.algorithm, kind.protection, kind.keys, can)


def show(report: Report, *, dry_run: bool) -> None:
    """Print the report as text. ``dry_run``: the operator asked for no changes."""
    newest = ", ".join(report.newest)
    if dry_run:
        show_kinds(report.kinds)
    if not report.kinds:
        out.print(f"no key is under an older master key than {newest}", markup=False)
    elif not dry_run:
        out.print(f"{report.rewrapped} keys rewrapped, {report.left} left", markup=False)
    if report.copied:
        out.print(f"{report.copied} missing copies put into S3", markup=False)
    if report.copies_missing is not None:
        out.print(f"{report.copies_missing} copies are missing in S3", markup=False)
    if report.failed:
        print_table(
            ["key_id", "stays unchanged"], [(key.key_id, key.what) for key in report.failed]
        )
    if any(kind.why_not for kind in report.kinds):
        err.print(LOCKED, markup=False)
    if report.retired:
        out.print(f"retired {', '.join(report.retired)}", markup=False)
        err.print(RETIRED, markup=False)


def as_json(report: Report, *, dry_run: bool) -> dict[str, Any]:
    """Return the report as --json prints it."""
    return {
        "dry_run": dry_run,
        "newest": report.newest,
        "kinds": [
            {**asdict(kind), "can_be_rewrapped": kind.why_not is None} for kind in report.kinds
        ],
        "rewrapped": report.rewrapped,
        "failed": [vars(key) for key in report.failed],
        "left": report.left,
        "retired": report.retired,
        "copied": report.copied,
        "copies_missing": report.copies_missing,
    }
