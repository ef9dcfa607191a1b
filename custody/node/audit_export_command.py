"""The work of `audit export`: where the lines go, and where the next export begins."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from custody.node.audit_export import lines_after, place_at
from custody.node.audit_records import Kept, hashes_of
from custody.node.connections import open_database
from custody.node.identity import load_identity
from custody.node.settings import NodeSettings
from custody.runtime.audit_file import ExportFile, Line
from custody.runtime.audit_lines import Place
from custody.runtime.console import err
from custody.runtime.errors import OperatorError
from custody.runtime.exported_chain import require_continued
from custody.runtime.syslog import Syslog

POLL_SECONDS = 1.0

Write = Callable[[Line], None]


@dataclass(frozen=True)
class Target:
    """Where an export goes: a file, a syslog server, or stdout if both are None."""

    to: Path | None
    syslog: str | None
    after: int

    def __post_init__(self) -> None:
        if self.to is not None and (self.syslog is not None or self.after):
            raise OperatorError(
                "--to cannot be combined with --syslog or --after",
                "A file continues after its own last record. Give --to alone.",
            )


async def export_records(
    settings: NodeSettings, target: Target, follow: bool, kept: Kept | None
) -> None:
    """Export until there are no more records, or with ``follow`` until interrupted.

    ``kept``: the heads at the control plane, or None to export without comparing them. Raise
    OperatorError.
    """
    if kept is not None and kept.findings:
        raise OperatorError(
            f"the control plane keeps heads that this node has not signed: {kept.findings[0].what}",
            "Run: audit verify.",
        )
    heads = None if kept is None else hashes_of(kept.heads)
    signer, node = load_identity(settings.identity.private_key), settings.node.id
    async with open_database(settings) as database:
        with _opened(target, settings.program) as (write, end, needs_head):
            after = target.after if end is None else end.sequence
            begin = await place_at(database, node, signer, after)
            if target.to is not None:
                require_continued(
                    target.to,
                    end,
                    begin,
                    "Run: audit verify. For the export of another node or another time, name a "
                    "new file.",
                )
            place = begin
            try:
                while True:
                    lines = lines_after(
                        database, node, signer, place, needs_head=needs_head, kept=heads
                    )
                    async for line in lines:
                        write(line)
                        place = line.place
                    needs_head = False
                    if not follow:
                        break
                    await asyncio.sleep(POLL_SECONDS)
            finally:
                err.print(
                    f"exported {place.sequence - begin.sequence} records; next: --after "
                    f"{place.sequence}",
                    markup=False,
                    highlight=False,
                )


@contextlib.contextmanager
def _opened(target: Target, program: str) -> Iterator[tuple[Write, Place | None, bool]]:
    if target.to is not None:
        with ExportFile(target.to) as file:
            end = file.place()
            yield file.write, end, file.needs_head
    elif target.syslog is not None:
        with Syslog(target.syslog, program) as syslog:
            yield lambda line: syslog.send("audit", line.text), None, False
    else:
        yield _print, None, False


def _print(line: Line) -> None:
    sys.stdout.write(line.text + "\n")
    if line.is_head:
        sys.stdout.flush()
