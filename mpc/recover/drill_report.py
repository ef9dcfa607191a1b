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
from mpc.recover.drill import KeyResult, Proof, SetResult
from mpc.recover.inventory import Inventory

VERDICTS = {
    report.EXIT_COMPLETE: "passed: every key was recovered, and every copy was used",
    EXIT_NOTHING_THERE: "failed: no files were there",
    EXIT_DAMAGED: "incomplete: every key was recovered, but copies are missing or damaged",
    EXIT_CANNOT_DECRYPT: "failed: no file is for this customer key",
    report.EXIT_KEY_LOST: "failed: a key could not be recovered",
}


def exit_code(inventory: Inventory, results: Sequence[KeyResult]) -> int:
    """Return the code of inspect for the files; a key that was not recovered decides."""
    if any(not result.passed for result in results):
        return report.EXIT_KEY_LOST
    return report.exit_code(inventory)


def as_json(
    inventory: Inventory, results: Sequence[KeyResult], customer_key: str, now: datetime
) -> dict[str, Any]:
    document = report.as_json(inventory, customer_key)
    for shown, result in zip(document["keys"], results, strict=True):
        shown["recovered"] = result.passed
        for each, proved in zip(shown["sets"], result.sets, strict=True):
            each["proofs"] = [
                {"signers": list(proof.signers), "fault": proof.fault} for proof in proved.proofs
            ]
    return {
        "drill": "recovery from share copies",
        "at": now.isoformat(timespec="seconds"),
        "version": version("custody"),
        "result": VERDICTS[exit_code(inventory, results)],
        **document,
    }


def as_markdown(
    inventory: Inventory, results: Sequence[KeyResult], customer_key: str, now: datetime
) -> str:
    return "\n".join(_lines(inventory, results, customer_key, now)) + "\n"


def _lines(
    inventory: Inventory, results: Sequence[KeyResult], customer_key: str, now: datetime
) -> Iterator[str]:
    yield "# Drill: recovery from share copies"
    yield ""
    yield f"- at: {now.isoformat(timespec='seconds')}"
    yield f"- by: mpc-recover of custody {version('custody')}"
    yield f"- customer key: `{customer_key}`"
    yield f"- result: **{VERDICTS[exit_code(inventory, results)]}**"
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
    for key_id in inventory.contradictions:
        yield ""
        yield f"Copies of key {key_id} name different public keys."
    yield ""
    yield "## Files"
    yield ""
    yield "| file | SHA-256 | state | what |"
    yield "|---|---|---|---|"
    for file in inventory.files:
        what = _cell(file.fault or "; ".join(file.notes))
        yield f"| {_cell(file.name)} | `{file.sha256}` | {file.state.value} | {what} |"


def _source(result: SetResult) -> str:
    facts = result.share_set.facts
    name = f"generation {facts.generation} (`{facts.ceremony}`)"
    if not result.proofs:
        return f"{name}: too few copies"
    return f"{name}: {', '.join(_quorum(proof) for proof in result.proofs)}"


def _quorum(proof: Proof) -> str:
    signers = "+".join(proof.signers)
    return signers if proof.fault is None else f"{signers} FAILED ({_cell(proof.fault)})"


def _cell(text: str) -> str:
    return printable(text).replace("|", "\\|")
