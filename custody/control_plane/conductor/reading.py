"""Rows into the facts that a plan is made of."""

import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from uuid import UUID

from custody.control_plane.conductor.planning.decisions import Begin
from custody.control_plane.conductor.planning.facts import (
    CEREMONY_OF,
    Ending,
    Left,
    Member,
    Origin,
    Request,
    SharesInUse,
    SignerGroup,
    Step,
    Task,
)
from custody.control_plane.conductor.planning.servers import usable_servers
from custody.control_plane.conductor.planning.share_sets import set_in_use
from custody.control_plane.conductor.step_making import Asked
from custody.control_plane.database import AnyRow
from custody.control_plane.jobs.results import job_of
from custody.wire.jobs import Job, JobKind
from custody.wire.outcomes import Outcome
from custody.wire.requests import CreateImport, RepairShare

OUTLIVES = (JobKind.PROMISE, JobKind.ACTIVATE_KEY, JobKind.ABANDON, JobKind.DISCARD)
DEGRADED_LOAD = 1.0
"""A signer that is not well is as one that has all its slots taken, when others can be chosen."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A request's row with what its plan is made of."""

    row: AnyRow
    job: Job
    request: Request

    def asked(self, begin: Begin) -> Asked:
        """Return the input of a step. A step that must finish may outlive the request."""
        may_outlive = self.row.must_finish or self.row.is_final or begin.kind in OUTLIVES
        return Asked(
            payload=self.row.payload,
            job=self.job,
            group=self.request.group,
            steps_so_far=max((step.number for step in self.request.steps), default=0),
            ceremonies_so_far=sum(step.kind in CEREMONY_OF for step in self.request.steps),
            may_outlive=may_outlive,
            target=self.request.target,
            now=self.row.read_at,
            servers=usable_servers(self.request),
        )


def facts_of(
    requests: Sequence[AnyRow],
    steps: Sequence[AnyRow],
    members: Mapping[str, Member],
    groups: Mapping[str, SignerGroup],
    servers: Sequence[str],
) -> tuple[list[Facts], dict[UUID, Exception]]:
    """Return the requests, in order of creation, and why the facts of others cannot be read.

    ``servers``: the delivery servers there are.
    """
    by_request: dict[UUID, list[list[AnyRow]]] = defaultdict(list)
    for (request_id, _), rows in groupby(steps, lambda row: (row.request_id, row.number)):
        by_request[request_id].append(list(rows))
    facts: list[Facts] = []
    unreadable: dict[UUID, Exception] = {}
    for row in requests:
        try:
            of_request = [_step(rows) for rows in by_request[row.id]]
            facts.append(_facts(row, of_request, members, groups, servers))
        except Exception as error:
            unreadable[row.id] = error
    return facts, unreadable


def names_of_groups(requests: Sequence[AnyRow]) -> set[str]:
    """Return the signer groups of requests; an unreadable request has none."""
    names = set()
    for row in requests:
        with contextlib.suppress(ValueError):
            names.add(_group_of(row))
        if row.origin_group is not None:
            names.add(str(row.origin_group))
    return names


def _group_of(row: AnyRow) -> str:
    """Return the group of the request's key; of an import, which has no key yet, its own."""
    if row.signer_group is not None:
        return str(row.signer_group)
    wanted = CreateImport.model_validate_json(job_of(row.payload).request)
    return str(wanted.signer_group)


def member_of(row: AnyRow) -> Member:
    """Return a signer from its row and its open tasks."""
    load = row.open / row.slots + (DEGRADED_LOAD if row.is_degraded else 0.0)
    return Member(
        is_there=row.is_there,
        free=max(row.slots - row.open, 0),
        load=load,
        has_gate=row.has_gate,
        problem=row.problem,
        delivery_problems=row.delivery_problems,
    )


def _facts(
    row: AnyRow,
    steps: list[Step],
    members: Mapping[str, Member],
    groups: Mapping[str, SignerGroup],
    servers: Sequence[str],
) -> Facts:
    job = job_of(row.payload)
    target = None
    if row.kind == JobKind.REPAIR_SHARE:
        target = RepairShare.model_validate_json(job.request).signer
    request = Request(
        id=row.id,
        kind=JobKind(row.kind),
        group=groups[_group_of(row)],
        origin=_origin(row, groups),
        in_use=SharesInUse(
            generation=row.generation or 0,
            share_set_id=row.share_set_id,
            next_share_set_id=row.next_share_set_id,
            next_users=frozenset(row.next_users),
        ),
        is_final=row.is_final,
        is_due=row.is_due,
        is_late=row.is_late,
        is_blocked=row.is_blocked,
        target=target,
        members=members,
        bans=frozenset(frozenset(pair) for pair in row.banned_pairs),
        left_in_flight=tuple(
            Left(row.root_id, signer, counterparty) for signer, counterparty in row.left_in_flight
        ),
        steps=tuple(steps),
        servers=tuple(servers),
    )
    return Facts(row, job, replace(request, in_use=set_in_use(request)))


def _origin(row: AnyRow, groups: Mapping[str, SignerGroup]) -> Origin | None:
    """Return the key that a copy is made of; None for another request."""
    if row.origin_group is None:
        return None
    in_use = SharesInUse(
        generation=row.origin_generation or 0,
        share_set_id=row.origin_share_set_id,
        next_share_set_id=row.origin_next_share_set_id,
        next_users=frozenset(row.origin_next_users),
    )
    return Origin(groups[row.origin_group], in_use)


def _step(rows: list[AnyRow]) -> Step:
    first = rows[0]
    return Step(
        id=first.id,
        number=first.number,
        kind=JobKind(first.kind),
        share_set_id=first.share_set_id,
        tasks=tuple(
            Task(
                row.signer,
                None if row.outcome is None else Outcome.model_validate_json(row.outcome),
                row.is_late,
            )
            for row in rows
        ),
        ending=None if first.ending is None else Ending(first.ending),
        culprits=tuple(first.culprits),
        is_unsettled=first.is_unsettled,
    )
