"""The report of a drill, which an auditor can keep: as JSON and as Markdown. It has no secrets."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

from custody.runtime.console import (
    EXIT_CANNOT_DECRYPT,
    EXIT_DAMAGED,
    EXIT_NOTHING_THERE,
    printable,
)
from mpc.recover import report
from mpc.recover.contents import FolderContents
from mpc.recover.drill import KeyResult, QuorumResult, SetResult

VERDICTS = {
    report.EXIT_COMPLETE: "passed: every key was recovered, and every copy was used",
    EXIT_NOTHING_THERE: "failed: no files were there",
    EXIT_DAMAGED: "incomplete: every key was recovered, but copies are missing or damaged",
    EXIT_CANNOT_DECRYPT: "failed: no file is for this customer key",
    report.EXIT_KEY_LOST: "failed: a key could not be recovered",
}


def exit_code(contents: FolderContents, results: Sequence[KeyResult]) -> int:
    """Return the code of inspect for the files; a key that was not recovered decides."""
    if any(not result.passed for result in results):
        return report.EXIT_KEY_LOST
    return report.exit_code(contents)


def as_json(
    contents: FolderContents, results: Sequence[KeyResult], customer_key: str, now: datetime
) -> dict[str, Any]:
    document = report.as_json(contents, customer_key)
    for shown, result in zip(document["keys"], results, strict=True):
        shown["recovered"] = result.passed
        for each, drilled in zip(shown["sets"], result.sets, strict=True):
            each["quorums"] = [
                {"signers": list(quorum.signers), "fault": quorum.fault}
                for quorum in drilled.quorums
            ]
    return {
        "drill": "recovery from share copies",
        "at": now.isoformat(timespec="seconds"),
        "version": version("custody"),
        "result": VERDICTS[exit_code(contents, results)],
        **document,
    }


def as_markdown(
    contents: FolderContents, results: Sequence[KeyResult], customer_key: str, now: datetime
) -> str:
    return "\n".join(_lines(contents, results, customer_key, now)) + "\n"


def _lines(
    contents: FolderContents, results: Sequence[KeyResult], customer_key: str, now: datetime
) -> Iterator[str]:
    yield "# Drill: recovery from share copies"
    yield ""
    yield f"- at: {now.isoformat(timespec='seconds')}"
    yield f"- by: mpc-recover of custody {version('custody')}"
    yield f"- customer key: `{customer_key}`"
    yield f"- result: **{VERDICTS[exit_code(contents, results)]}**"
    yield ""
    yield "Each private key was computed from the copies of t signers and compared with its public"
    yield "key. It signed a message, the signature was verified, and the key was forgotten. No"
    yield "private key was printed or written."
    yield ""
    yield "## Keys"
    yield ""
    yield "| key | algorithm | public key | address | recovered | from |"
    yield "|---|---|---|---|---|---|"
    for result in results:
        facts = result.key.facts
        recovered = "yes" if result.passed else "NO"
        sources = "; ".join(_source(each) for each in result.sets)
        yield (
            f"| {facts.key_id} | {facts.algorithm} | `{facts.public_key.hex()}` | "
            f"{result.key.address or '-'} | {recovered} | {sources} |"
        )
    for key_id in contents.contradictions:
        yield ""
        yield f"Key {key_id}: {report.CONTRADICTION}."
    yield ""
    yield "## Files"
    yield ""
    yield "| file | SHA-256 | state | what |"
    yield "|---|---|---|---|"
    for file in contents.files:
        what = _cell(file.fault or "; ".join(file.notes))
        yield f"| {_cell(file.name)} | `{file.sha256}` | {file.state.value} | {what} |"


def _source(result: SetResult) -> str:
    facts = result.share_set.facts
    name = f"generation {facts.generation} (`{facts.ceremony}`)"
    if not result.quorums:
        return f"{name}: too few copies"
    return f"{name}: {', '.join(_quorum(quorum) for quorum in result.quorums)}"


def _quorum(quorum: QuorumResult) -> str:
    signers = "+".join(quorum.signers)
    return signers if quorum.fault is None else f"{signers} FAILED ({_cell(quorum.fault)})"


def _cell(text: str) -> str:
    return printable(text).replace("|", "\\|")
