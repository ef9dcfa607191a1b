"""Routes of keys."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response, Security
from pydantic import TypeAdapter

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import Caller
from custody.control_plane.api import key_creation
from custody.control_plane.api.answers import (
    UPDATE_METADATA_BODY,
    WITH_BODY,
    WITH_PLAIN_BODY,
    answer,
    body,
    problems,
)
from custody.control_plane.api.authentication import Requires
from custody.control_plane.api.request_signatures import SignatureHeader
from custody.control_plane.api.requests import (
    UPDATE_METADATA,
    ArchivedFilter,
    Cursor,
    ExternalIdFilter,
    Limit,
    NameFilter,
    OwnerFilter,
    TagFilter,
    Wait,
    body_of,
    read_posted,
)
from custody.control_plane.api.services import Services
from custody.control_plane.api.submission import created
from custody.control_plane.api.waiting import wait_for
from custody.control_plane.problems import Code
from custody.control_plane.resources.keys import states_of
from custody.control_plane.resources.pages import DEFAULT_LIMIT, PageRequest
from custody.wire.algorithms import Curve, Network, Scheme, Store
from custody.wire.requests import CreateKey
from custody.wire.resources import Key, KeyStatus, Page

_CREATE_KEY = TypeAdapter(CreateKey)


def router(services: Services) -> APIRouter:
    """POST, GET and PATCH of keys."""
    routes = APIRouter(prefix="/v1/keys", tags=["Keys"])
    creator = Annotated[Caller, Security(Requires(services.tokens, Scope.WALLETS))]
    reader = Annotated[Caller, Security(Requires(services.tokens, Scope.READ))]

    @routes.post(
        "",
        operation_id="create_key",
        summary="Create a key",
        status_code=201,
        response_model=Key,
        responses={
            200: {"model": Key, "description": "The first result of this external_id."},
            **problems(*WITH_BODY, *key_creation.PROBLEMS),
        },
        openapi_extra=body(
            "CreateKey",
            P256={"scheme": "ECDSA", "curve": "secp256r1", "store": "hsm"},
            Ed25519={"scheme": "EdDSA", "curve": "ed25519", "store": "hsm"},
            of_signers={
                "scheme": "ECDSA",
                "curve": "secp256k1",
                "store": "mpc",
                "signer_group": "treasury",
            },
        ),
    )
    async def create_key(
        request: Request, caller: creator, wait: Wait = 0, signature: SignatureHeader = None
    ) -> Response:
        """A bare key, of no network: it signs hashes, and messages by a hash function named."""
        posted = await read_posted(caller, request, _CREATE_KEY, signature)
        settled = await key_creation.create(services, posted)

        async def read() -> Key:
            return await services.keys.get(caller, settled.job_id)

        return await created(services, settled, read, wait, "/v1/keys")

    @routes.get(
        "",
        operation_id="list_keys",
        summary="List keys",
        response_model=Page[Key],
        responses=problems(),
    )
    async def list_keys(
        caller: reader,
        scheme: Scheme | None = None,
        curve: Curve | None = None,
        network: Network | None = None,
        store: Store | None = None,
        status: KeyStatus | None = None,
        external_id: ExternalIdFilter = None,
        name: NameFilter = None,
        tag: TagFilter = None,
        owner: OwnerFilter = None,
        archived: ArchivedFilter = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response:
        """The application's keys, newest first, those of its wallets among them."""
        filters = {
            "scheme": scheme,
            "curve": curve,
            "network": network,
            "store": store,
            "states": states_of(status),
            "external_id": external_id,
            "name": name,
            "archived": archived,
        }
        page = PageRequest(limit, cursor)
        return answer(await services.keys.page(caller, filters, page, tag, owner))

    @routes.get(
        "/{key_id}",
        operation_id="get_key",
        summary="Get a key",
        response_model=Key,
        responses=problems(Code.NOT_FOUND),
    )
    async def get_key(caller: reader, key_id: UUID, wait: Wait = 0) -> Response:
        """A key; with `wait`, once its status is final."""

        async def read() -> Key:
            return await services.keys.get(caller, key_id)

        return answer(await wait_for(services.notifications, key_id, read, wait))

    @routes.patch(
        "/{key_id}",
        operation_id="update_key",
        summary="Change a key's name or tags",
        response_model=Key,
        responses=problems(*WITH_PLAIN_BODY, Code.NOT_FOUND),
        openapi_extra=UPDATE_METADATA_BODY,
    )
    async def update_key(request: Request, caller: creator, key_id: UUID) -> Response:
        """A JSON merge patch (RFC 7396): what is left out stays, `null` removes it.

        Nodes do not know names and tags. So a change needs no node, and no signature.
        """
        _, change = await body_of(request, UPDATE_METADATA)
        return answer(await services.keys.update(caller, key_id, change))

    return routes
