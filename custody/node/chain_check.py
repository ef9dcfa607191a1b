"""Check of a chain: of its links, and against the heads kept elsewhere. Pure."""

from custody.node.audit_records import (
    MAX_RECORD,
    RESTORED,
    BadRecord,
    Finding,
    Gap,
    Kept,
    Said,
    hashes_of,
    open_gap,
    parse_record,
    stated,
)
from custody.wire.audit import GENESIS, AuditHead, Checkpoint, chain_hash
from custody.wire.node_api import KnownRestore
from custody.wire.signed_bytes import SigningKey


class ChainCheck:
    """Checks a chain record by record, from the first or from the record after a checkpoint.

    ``kept`` is None if there are no kept heads to compare with. Then the end of the chain and the
    acknowledgements, which only the control plane knows, are not checked.
    """

    def __init__(
        self,
        node: str,
        signer: SigningKey,
        kept: Kept | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._node = node
        self._signer = signer
        self._is_compared = kept is not None
        self._kept = kept or Kept()
        self._heads = hashes_of(self._kept.heads)
        self._set_aside = hashes_of(self._kept.set_aside)
        self._lost: list[AuditHead] = []
        self._previous = GENESIS
        self._stated: set[bytes] = set()
        self.sequence = 0
        self.compared = 0
        self.gaps: list[Gap] = []
        self._early: list[Finding] = []
        if checkpoint is not None:
            self._begin_at(checkpoint)

    def _begin_at(self, checkpoint: Checkpoint) -> None:
        """Begin after a checkpoint. Its hash covers all records up to it."""
        self.sequence, self._previous = checkpoint.sequence, checkpoint.hash
        self._early = self._compare(checkpoint.sequence, checkpoint.hash)
        self._heads = {at: each for at, each in self._heads.items() if at > checkpoint.sequence}

    def kept_record(self, sequence: int, said: Said) -> list[Finding]:
        """Check a record that stays below the checkpoint, whose digest covers its hash."""
        if (said.sequence, said.node) != (sequence, self._node):
            what = "the record names another node or position than its own"
            return [Finding(sequence, what)]
        return self._restored(said, None) if said.kind == RESTORED else []

    def record(
        self, sequence: int, record: bytes | None, stored_hash: bytes
    ) -> tuple[Said | None, list[Finding]]:
        """Check the next record and return its contents. None: it is larger than MAX_RECORD."""
        findings = []
        self.sequence += 1
        if sequence != self.sequence:
            findings.append(Finding(self.sequence, f"missing: the next record is {sequence}"))
            self.sequence = sequence
        said = None
        if record is None:
            findings.append(Finding(sequence, f"the record is larger than {MAX_RECORD} bytes"))
        else:
            try:
                said = parse_record(record)
            except BadRecord as bad:
                findings.append(Finding(sequence, f"the record does not parse: {bad}"))
            if said is not None and (said.sequence, said.node) != (sequence, self._node):
                findings.append(
                    Finding(sequence, "the record names another node or position than its own")
                )
                said = None
            if chain_hash(self._previous, record) != stored_hash:
                findings.append(
                    Finding(sequence, "the hash does not follow from the record before it")
                )
        if said is not None and said.kind == RESTORED:
            findings += self._restored(said, self._previous)
        self._previous = stored_hash
        return said, findings + self._compare(sequence, stored_hash)

    def _compare(self, sequence: int, stored_hash: bytes) -> list[Finding]:
        hashes = self._heads.pop(sequence, set())
        aside = self._set_aside.pop(sequence, set())
        self.compared += len(hashes) + len(aside)
        self._lost += [
            AuditHead(node=self._node, sequence=sequence, hash=each)
            for each in aside
            if each != stored_hash
        ]
        if hashes <= {stored_hash}:
            return []
        return [Finding(sequence, "differs from the head that this node signed and reported")]

    def _restored(self, said: Said, previous: bytes | None) -> list[Finding]:
        """Check a record that states a restore: it must name its own position in the chain.

        ``previous``: the hash before it; None if that record was pruned.
        """
        try:
            signed = stated(said)
            gap = open_gap(KnownRestore(restored=signed), self._signer, self._node)
        except ValueError as error:
            return [Finding(said.sequence, f"the stated restore is invalid: {error}")]
        if gap.sequence != said.sequence or previous not in (None, gap.own.hash):
            return [
                Finding(
                    said.sequence, "the stated restore belongs to another position in the chain"
                )
            ]
        self._stated.add(signed.payload)
        known = self._kept.restores.get(signed.payload)
        self.gaps.append(known or gap)
        if not self._is_compared or (known is not None and known.acknowledged_at is not None):
            return []
        return [
            Finding(
                said.sequence,
                f"a restore of the database lost the records {gap.agreed.sequence + 1} to "
                f"{gap.kept.sequence}, and no admin has acknowledged it: control-plane node "
                f"restored {self._node}",
            )
        ]

    def end(self) -> list[Finding]:
        """Check that the chain contains all reported records, and check the heads set aside."""
        findings = [*self._kept.findings, *self._early]
        missing = {sequence for sequence in self._heads if sequence > 0}
        if missing:
            highest = max(missing)
            findings.append(
                Finding(
                    highest,
                    f"missing: this node signed and reported {highest} records, "
                    f"the database ends at {self.sequence}",
                )
            )
        return findings + self._end_of_restores()

    def _end_of_restores(self) -> list[Finding]:
        acknowledged = [
            (payload, gap)
            for payload, gap in self._kept.restores.items()
            if gap.acknowledged_at is not None
        ]
        lost = {head.sequence for head in self._lost} | set(self._set_aside)
        findings = [
            Finding(
                sequence,
                "the control plane has set this head aside, but no acknowledged restore "
                "explains it",
            )
            for sequence in sorted(lost)
            if not any(gap.covers(sequence) for _, gap in acknowledged)
        ]
        for number, (payload, gap) in enumerate(acknowledged):
            later = [each for _, each in acknowledged[number + 1 :]]
            if payload not in self._stated and not any(each.covers(gap.sequence) for each in later):
                findings.append(
                    Finding(
                        gap.sequence,
                        "missing: the record of a restore that was acknowledged by "
                        f"{gap.acknowledged_by}",
                    )
                )
        return findings
