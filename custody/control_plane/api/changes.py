"""Routes of a key's children, refreshes and repairs, which only keys of store mpc have."""

from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Request, Response, Security
from pydantic import TypeAdapter

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import Caller
from custody.control_plane.api import derivation
from custody.control_plane.api.answers import WITH_BODY, body, problems
from custody.control_plane.api.authentication import Requires
from custody.control_plane.api.change_requests import FIRST, add_reading, submit_change
from custody.control_plane.api.request_signatures import (
    SignatureHeader,
    check_key,
)
from custody.control_plane.api.requests import Posted, Wait, read_posted
from custody.control_plane.api.services import Services
from custody.control_plane.api.submission import created
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.keys import reference_of
from custody.wire.algorithms import Store
from custody.wire.jobs import JobKind
from custody.wire.requests import DeriveKey, RefreshKey, RepairShare
from custody.wire.resources import Key, KeyChange

_DERIVE = TypeAdapter(DeriveKey)
_REFRESH = TypeAdapter(RefreshKey)
_REPAIR = TypeAdapter(RepairShare)

AnyChange = TypeVar("AnyChange", RefreshKey, RepairShare)

_PROBLEMS = (
    *WITH_BODY,
    Code.NOT_FOUND,
    Code.KEY_NOT_ACTIVE,
    Code.CHANGE_UNDER_WAY,
    Code.NOT_REFRESHABLE,
    Code.REQUEST_MISMATCH,
    Code.REQUEST_EXPIRED,
)


def router(services: Services) -> APIRouter:
    """POST of derive, refresh and repair; GET of refreshes and repairs."""
    routes = APIRouter(prefix="/v1/keys/{key_id}", tags=["Keys"])
    creator = Annotated[Caller, Security(Requires(services.tokens, Scope.WALLETS))]

    @routes.post(
        "/derive",
        operation_id="derive_key",
        summary="Derive a key",
        status_code=201,
        response_model=Key,
        responses={
            200: {"model": Key, "description": "The first result of this external_id."},
            **problems(
                *WITH_BODY, *derivation.PROBLEMS, Code.REQUEST_MISMATCH, Code.REQUEST_EXPIRED
            ),
        },
        openapi_extra=body("DeriveKey", child={"path": "m/0/5", "external_id": "user-17"}),
    )
    async def derive_key(
        request: Request, key_id: UUID, caller: creator, signature: SignatureHeader = None
    ) -> Response:
        """A child of an ECDSA key on secp256k1 (BIP-32, unhardened): Active at once.

        It is a bare key, of the same signers; its own children count from the same root.
        """
        posted = await read_posted(caller, request, _DERIVE, signature)
        parent = await services.keys.get_active(caller, key_id)
        check_key(posted.body, key_id, parent.store)
        settled = await derivation.derive(services, parent, posted)

        async def read() -> Key:
            return await services.keys.get(caller, settled.job_id)

        return await created(services, settled, read, 0, "/v1/keys")

    @routes.post(
        "/refresh",
        operation_id="refresh_key",
        summary="Refresh a key's shares",
        status_code=201,
        response_model=KeyChange,
        responses={**FIRST, **problems(*_PROBLEMS)},
        openapi_extra=body("RefreshKey", refresh={"external_id": "refresh-2026-11"}),
    )
    async def refresh_key(
        request: Request,
        key_id: UUID,
        caller: creator,
        wait: Wait = 0,
        signature: SignatureHeader = None,
    ) -> Response:
        """All signers replace their shares of a key, which stays the same; old shares are erased.

        It needs all n signers. Until they all have new shares, the old ones continue to sign. While
        another refresh or a repair of the key is under way, it is refused.
        """
        posted = await read_posted(caller, request, _REFRESH, signature)
        key = await _changeable(services, caller, key_id)
        check_key(posted.body, key_id, key.store)
        return await _change(services, key, posted, wait)

    @routes.post(
        "/repair",
        operation_id="repair_share",
        summary="Repair a signer's share",
        status_code=201,
        response_model=KeyChange,
        responses={**FIRST, **problems(*_PROBLEMS, Code.UNKNOWN_SIGNER)},
        openapi_extra=body("RepairShare", repair={"signer": "signer-2"}),
    )
    async def repair_share(
        request: Request,
        key_id: UUID,
        caller: creator,
        wait: Wait = 0,
        signature: SignatureHeader = None,
    ) -> Response:
        """A signer that lost its share gets it back from t others; then all shares are refreshed.

        The operators of these t agree first, on their hosts: `mpc-signer repair approve`. One
        repair of a key at a time; it waits for a refresh that was asked for before.
        """
        posted = await read_posted(caller, request, _REPAIR, signature)
        key = await _changeable(services, caller, key_id)
        check_key(posted.body, key_id, key.store)
        if posted.body.signer not in (key.signers or ()):
            raise ProblemError(
                Code.UNKNOWN_SIGNER,
                f"{posted.body.signer} holds no share of key {key_id}; who does: "
                f"{', '.join(key.signers or ())}.",
            )
        return await _change(services, key, posted, wait)

    add_reading(routes, services, "refresh", JobKind.REFRESH_KEY)
    add_reading(routes, services, "repair", JobKind.REPAIR_SHARE)
    return routes


async def _changeable(services: Services, caller: Caller, key_id: UUID) -> Key:
    """Raise ProblemError unless the key is Active and has shares of its own."""
    key = await services.keys.get_active(caller, key_id)
    if key.store is not Store.MPC:
        raise ProblemError(Code.NOT_REFRESHABLE, f"Key {key_id} is of store hsm: no shares.")
    if key.root is not None:
        raise ProblemError(
            Code.NOT_REFRESHABLE,
            f"Key {key_id} is derived: its shares are those of its root, {key.root}.",
        )
    return key


async def _change(services: Services, key: Key, posted: Posted[AnyChange], wait: float) -> Response:
    submission = posted.for_group(services.groups.serving(Store.MPC))
    draft = services.job_maker.change(submission, reference_of(key), posted.body)
    return await submit_change(services, posted, draft, wait)
