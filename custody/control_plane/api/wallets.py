"""Routes of wallets."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response, Security
from pydantic import TypeAdapter

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import Caller
from custody.control_plane.api import derivation, key_creation
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
    Name,
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
from custody.wire.algorithms import Network, Store
from custody.wire.requests import CreateWallet
from custody.wire.resources import KeyStatus, Page, Wallet

_CREATE_WALLET = TypeAdapter(CreateWallet)


def router(services: Services) -> APIRouter:
    """POST, GET and PATCH of wallets."""
    routes = APIRouter(prefix="/v1/wallets", tags=["Wallets"])
    creator = Annotated[Caller, Security(Requires(services.tokens, Scope.WALLETS))]
    reader = Annotated[Caller, Security(Requires(services.tokens, Scope.READ))]

    @routes.post(
        "",
        operation_id="create_wallet",
        summary="Create a wallet",
        status_code=201,
        response_model=Wallet,
        responses={
            200: {"model": Wallet, "description": "The first result of this external_id."},
            **problems(*WITH_BODY, *key_creation.PROBLEMS, *derivation.PROBLEMS),
        },
        openapi_extra=body(
            "CreateWallet",
            Ethereum={"network": "Ethereum", "store": "hsm"},
            Taproot={
                "network": "Bitcoin",
                "store": "mpc",
                "signer_group": "treasury",
                "address_type": "p2tr",
            },
            child_of_a_master_key={
                "network": "Ethereum",
                "store": "mpc",
                "master_key": "5b2d1c5e-3c6f-4f6e-9d0e-0f1a2b3c4d5e",
                "path": "m/0/5",
            },
            test_network={"network": "BitcoinTestnet4", "store": "hsm"},
            with_external_id={"network": "Bitcoin", "store": "hsm", "external_id": "user-17"},
            with_name_and_tags={
                "network": "Ethereum",
                "store": "hsm",
                "name": "Treasury",
                "tags": ["customer:42", "cold"],
            },
        ),
    )
    async def create_wallet(
        request: Request, caller: creator, wait: Wait = 0, signature: SignatureHeader = None
    ) -> Response:
        """A new key, and the network's address of it once the wallet is Active.

        A wallet from a master key needs no new one, and is Active at once.
        """
        posted = await read_posted(caller, request, _CREATE_WALLET, signature)
        if posted.body.master_key is None:
            settled = await key_creation.create(services, posted)
        else:
            parent = await services.keys.get_active(caller, posted.body.master_key)
            settled = await derivation.derive(services, parent, posted)

        async def read() -> Wallet:
            return await services.wallets.of_key(caller, settled.job_id)

        return await created(services, settled, read, wait, "/v1/wallets")

    @routes.get(
        "",
        operation_id="list_wallets",
        summary="List wallets",
        response_model=Page[Wallet],
        responses=problems(),
    )
    async def list_wallets(
        caller: reader,
        network: Network | None = None,
        store: Store | None = None,
        status: KeyStatus | None = None,
        address: Annotated[Name | None, Query(description="Exactly this address.")] = None,
        key_id: Annotated[UUID | None, Query(description="Only wallets of this key.")] = None,
        external_id: ExternalIdFilter = None,
        name: NameFilter = None,
        tag: TagFilter = None,
        owner: OwnerFilter = None,
        archived: ArchivedFilter = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response:
        """The application's wallets, newest first."""
        filters = {
            "network": network,
            "store": store,
            "states": states_of(status),
            "address": address,
            "key_id": key_id,
            "external_id": external_id,
            "name": name,
            "archived": archived,
        }
        page = PageRequest(limit, cursor)
        return answer(await services.wallets.page(caller, filters, page, tag, owner))

    @routes.get(
        "/{wallet_id}",
        operation_id="get_wallet",
        summary="Get a wallet",
        response_model=Wallet,
        responses=problems(Code.NOT_FOUND),
    )
    async def get_wallet(caller: reader, wallet_id: UUID, wait: Wait = 0) -> Response:
        """A wallet; with `wait`, once its status is final."""

        async def read() -> Wallet:
            return await services.wallets.get(caller, wallet_id)

        found = await read()
        if wait and not found.status.is_final:
            found = await wait_for(services.notifications, found.key_id, read, wait)
        return answer(found)

    @routes.patch(
        "/{wallet_id}",
        operation_id="update_wallet",
        summary="Change a wallet's name or tags",
        response_model=Wallet,
        responses=problems(*WITH_PLAIN_BODY, Code.NOT_FOUND),
        openapi_extra=UPDATE_METADATA_BODY,
    )
    async def update_wallet(request: Request, caller: creator, wallet_id: UUID) -> Response:
        """A JSON merge patch (RFC 7396): what is left out stays, `null` removes it.

        Nodes do not know names and tags. So a change needs no node, and no signature.
        """
        _, change = await body_of(request, UPDATE_METADATA)
        return answer(await services.wallets.update(caller, wallet_id, change))

    return routes
