"""Writes what ``reconcile --apply`` repairs. Each repair is one transaction, and may run again."""

from dataclasses import dataclass
from uuid import UUID

from custody.control_plane.database import Database
from custody.control_plane.jobs.queries import READ_REPORTED
from custody.control_plane.jobs.queue import NewJob, Queue, job_facts
from custody.control_plane.jobs.results import MadeKey
from custody.control_plane.jobs.transitions import Change, Note
from custody.control_plane.problems import ProblemError
from custody.control_plane.reconcile import queries
from custody.control_plane.reconcile.archived_keys import ids_at
from custody.control_plane.reconcile.holdings import Agreed, SignerGroup
from custody.control_plane.reconcile.plan import (
    Adopt,
    Archive,
    Finish,
    Repair,
    Return,
    UseShareSet,
)
from custody.control_plane.resources.creation import Creation
from custody.control_plane.resources.external_ids import body_digest
from custody.control_plane.resources.key_rows import NewKey, key_row, wallet_row
from custody.control_plane.tables import JobState
from custody.wire.addresses import address_of
from custody.wire.algorithms import AddressType, Algorithm, Network, Store, network_algorithm
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.node_api import Report
from custody.wire.outcomes import GeneratedKey, Outcome, OutcomeStatus
from custody.wire.requests import CopyKey, CreateKey, CreateWallet
from custody.wire.signed_bytes import JOB_TYPE, SigningKey
from custody.wire.statements import AS_COPIED


class NotRepaired(Exception):
    """A repair that is not possible: the text says why."""


@dataclass(frozen=True)
class Repairs:
    """Applies repairs. ``application``: the id of the one that gets adopted keys; None: no keys."""

    database: Database
    queue: Queue
    creation: Creation
    signer: SigningKey
    groups: dict[Store, str]
    application: UUID | None

    async def apply(self, repair: Repair) -> None:
        """Write one repair. Raise NotRepaired."""
        match repair:
            case Adopt():
                await self._adopt(repair.key)
            case Finish():
                await self._finish(repair.key)
            case UseShareSet():
                await self._use_share_set(repair.key)
            case Return():
                await self._return(repair)
            case Archive():
                await self._archive(repair)

    async def _adopt(self, key: Agreed) -> None:
        if self.application is None:
            raise NotRepaired("no application was named: --application NAME")
        said = key.attested
        if key.group is not None:
            await self.database.rows(
                queries.ADD_GROUP,
                {
                    "name": key.group.name,
                    "threshold": key.group.threshold,
                    "signers": list(key.group.signers),
                },
            )
        await self._require_same_as_copied(key, self.application)
        job, body = self._job(key)
        result = _result(key)
        raw = _outcome(key, result)
        reference = _reference(key, said.key_id, said.public_key)
        signed = self.signer.sign(JOB_TYPE, job.model_dump_json().encode())
        new = NewJob(
            id=job.id,
            kind=job.kind,
            endpoint=job.endpoint,
            application_id=self.application,
            key_id=job.id,
            node_group=job.group,
            external_id=body.external_id,
            body_digest=_digest(key, body),
            payload=signed.payload,
            signature=signed.signature,
            signing_key_id=signed.signing_key_id,
            created_at=job.created_at,
            expires_at=job.expires_at,
            outcome=raw,
        )
        row = key_row(
            new,
            reference,
            said.store,
            signer_group=None if key.group is None else key.group.name,
            result=result,
            chain_code=said.chain_code,
            attestations=[each.signed for each in key.held],
            imported=said.imported,
            copied_from=key.copied_from,
        )
        address = None if key.copied_from else _address(key)  # a copy has no wallet
        wallet = None if address is None else wallet_row(new, row, address)
        try:
            settled = await self.creation.key(NewKey(new, row, wallet))
        except ProblemError as problem:
            raise NotRepaired(problem.detail) from None
        if settled.job_id != job.id:
            raise NotRepaired(f"its external id is that of key {settled.job_id}")
        if key.group is not None:
            await self._use_share_set(key)

    async def _require_same_as_copied(self, key: Agreed, application: UUID | None = None) -> None:
        """Raise NotRepaired for a copy that differs from the copied key of this database.

        The database may not know that key: its holders may have erased their shares since, and then
        nobody attests it any more. ``application``: the one that gets the copy.
        """
        if key.copied_from is None:
            return
        copied = await self.database.row(queries.COPIED, {"id": key.copied_from})
        if copied is None:
            return
        for name in AS_COPIED:
            if getattr(key.attested, name) != getattr(copied, name):
                raise NotRepaired(f"it is a copy of key {key.copied_from}, with another {name}")
        if application not in (None, copied.application_id):
            raise NotRepaired(
                f"it is a copy of key {key.copied_from}, which is another application's: name "
                "that one"
            )

    def _job(self, key: Agreed) -> tuple[Job, CreateKey | CreateWallet | CopyKey]:
        """Return the job of the request that the key was made for, as far as nodes know it."""
        said = key.attested
        reference = _reference(key, said.key_id, None)
        kind = JobKind.IMPORT_KEY if said.imported else JobKind.GENERATE_KEY
        if key.copied_from is not None:
            reference = _reference(key, key.copied_from, said.public_key)
            kind = JobKind.COPY_KEY
        body = _body(key)
        job = Job(
            id=said.key_id,
            kind=kind,
            group=self.groups[said.store],
            key=reference,
            endpoint=_endpoint(body),
            request=body.model_dump_json(exclude_none=True).encode(),
            created_at=key.created_at,
            expires_at=key.created_at,
        )
        return job, body

    async def _finish(self, key: Agreed) -> None:
        await self._require_holders(key)
        await self._require_same_as_copied(key)
        said = key.attested
        rows = await self.database.rows(
            READ_REPORTED,
            {"ids": [said.key_id], "group": self.groups[said.store], "seen_lately": 0},
        )
        if not rows:
            raise NotRepaired("its request is not one of this group")
        facts = job_facts(rows[0])
        if facts.key.algorithm != Algorithm(said.scheme, said.curve):
            raise NotRepaired("the request asks for another algorithm")
        if facts.key.network != said.network:
            raise NotRepaired("the request asks for a key of another network")
        made = MadeKey(
            public_key=said.public_key,
            protection=said.protection.value,
            address=_address(key),
            attestations=tuple(each.signed for each in key.held),
            chain_code=said.chain_code,
            generation=key.held[0].generation,
            share_set_id=key.held[0].share_set_id,
        )
        raw = _outcome(key, _result(key))
        change = Change(facts, Note.RECORDED, JobState.DONE, raw, new_key=made)
        if not await self.queue.write([change]):
            raise NotRepaired("its request has changed meanwhile")

    async def _use_share_set(self, key: Agreed) -> None:
        await self._require_holders(key)
        generation, share_set_id = key.held[0].share_set
        values = {
            "id": key.attested.key_id,
            "generation": generation,
            "share_set_id": share_set_id,
        }
        await self.database.rows(queries.SET_SHARES, values)

    async def _require_holders(self, key: Agreed) -> None:
        """Raise NotRepaired unless exactly the signer group of the key's own row attests it."""
        row = await self.database.row(queries.HOLDERS, {"id": key.attested.key_id})
        holders = None if row is None else SignerGroup(row.name, row.threshold, tuple(row.signers))
        if holders is None or holders != key.group:
            raise NotRepaired(f"the key's signer group is {holders}, and {key.group} attest it")

    async def _return(self, repair: Return) -> None:
        recorded = repair.recorded
        report = Report(job_id=recorded.job_id, lease=None, outcome=recorded.raw)
        [result] = await self.queue.report(recorded.node, repair.group, [report])
        if result.note not in (Note.RECORDED, Note.DUPLICATE):
            raise NotRepaired(f"the outcome does not fit the request ({result.note})")

    async def _archive(self, repair: Archive) -> None:
        values = {"ids": ids_at(repair.place), "archived_at": repair.archived_at}
        if not await self.database.rows(queries.ARCHIVE, values):
            raise NotRepaired("the key has been archived meanwhile")


def _reference(key: Agreed, key_id: UUID, public_key: bytes | None) -> KeyReference:
    said = key.attested
    return KeyReference(
        id=key_id,
        scheme=said.scheme,
        curve=said.curve,
        network=said.network,
        public_key=public_key,
    )


def _endpoint(body: CreateKey | CreateWallet | CopyKey) -> Endpoint:
    match body:
        case CreateKey():
            return Endpoint.KEYS
        case CreateWallet():
            return Endpoint.WALLETS
        case CopyKey():
            return Endpoint.COPIES


def _digest(key: Agreed, body: CreateKey | CreateWallet | CopyKey) -> bytes:
    """Return what the application brings again when it repeats the request."""
    imported = key.attested.public_key if key.attested.imported and not key.copied_from else None
    return body_digest(body, key.copied_from, imported)


def _body(key: Agreed) -> CreateKey | CreateWallet | CopyKey:
    """Return the request, without the fields that say the same when they are left out."""
    said, made_for = key.attested, key.made_for
    group = None if key.group is None else key.group.name
    external_id = made_for.external_id if made_for else None
    if key.copied_from is not None:
        return CopyKey(signer_group=said.group, external_id=external_id)
    if said.network is None:
        return CreateKey(
            store=said.store,
            signer_group=group,
            scheme=said.scheme,
            curve=said.curve,
            external_id=external_id,
        )
    return CreateWallet(
        store=said.store,
        signer_group=group,
        network=said.network,
        address_type=_address_type(said.network, Algorithm(said.scheme, said.curve)),
        external_id=external_id,
    )


def _address_type(network: Network, algorithm: Algorithm) -> AddressType | None:
    """Return the address type that must be named for an algorithm; None for the default."""
    for address_type in [None, *list[AddressType](AddressType)]:
        try:
            if network_algorithm(network, address_type) == algorithm:
                return address_type
        except ValueError:
            continue
    raise NotRepaired(f"{network.value} has no addresses for {algorithm}")


def _address(key: Agreed) -> str | None:
    said = key.attested
    if said.network is None:
        return None
    return address_of(said.network, Algorithm(said.scheme, said.curve), said.public_key)


def _result(key: Agreed) -> GeneratedKey:
    said = key.attested
    return GeneratedKey(
        scheme=said.scheme,
        curve=said.curve,
        public_key=said.public_key,
        protection=said.protection,
        attestation=key.held[0].signed if said.store is Store.HSM else None,
    )


def _outcome(key: Agreed, result: GeneratedKey) -> bytes:
    """Return the outcome that the journal has, byte for byte; else one of the attested facts."""
    said, recorded = key.attested, key.held[0].outcome
    if recorded is not None and _says(recorded, said.key_id, result):
        return recorded
    node = said.node if said.store is Store.HSM else None
    outcome = Outcome(job_id=said.key_id, node=node, status=OutcomeStatus.DONE, result=result)
    return outcome.model_dump_json().encode()


def _says(recorded: bytes, key_id: UUID, result: GeneratedKey) -> bool:
    """Return whether a recorded outcome made the key that is attested."""
    try:
        outcome = Outcome.model_validate_json(recorded)
    except ValueError:
        return False
    made = outcome.result
    return (
        outcome.job_id == key_id
        and outcome.status is OutcomeStatus.DONE
        and isinstance(made, GeneratedKey)
        and made.model_copy(update={"attestation": None})
        == result.model_copy(update={"attestation": None})
    )
