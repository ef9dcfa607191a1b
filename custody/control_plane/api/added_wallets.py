"""Route of further wallets of a key."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response, Security
from pydantic import TypeAdapter

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import Caller
from custody.control_plane.api.answers import WITH_PLAIN_BODY, answer, body, problems
from custody.control_plane.api.authentication import Requires
from custody.control_plane.api.requests import body_of
from custody.control_plane.api.services import Services
from custody.control_plane.problems import Code
from custody.wire.requests import AddWallet
from custody.wire.resources import Wallet

_ADD_WALLET = TypeAdapter(AddWallet)


def router(services: Services) -> APIRouter:
    """POST of a further wallet of a key."""
    routes = APIRouter(prefix="/v1/keys/{key_id}", tags=["Wallets"])
    creator = Annotated[Caller, Security(Requires(services.tokens, Scope.WALLETS))]

    @routes.post(
        "/wallets",
        operation_id="add_wallet",
        summary="Add a wallet of a key",
        status_code=201,
        response_model=Wallet,
        responses={
            200: {"model": Wallet, "description": "The key's wallet on this network."},
            **problems(*WITH_PLAIN_BODY, Code.NOT_FOUND, Code.KEY_NOT_ACTIVE),
        },
        openapi_extra=body(
            "AddWallet",
            Sepolia={"network": "EthereumSepolia"},
            with_a_name={"network": "BitcoinSignet", "name": "Trial", "tags": ["trial"]},
        ),
    )
    async def add_wallet(request: Request, caller: creator, key_id: UUID) -> Response:
        """The key's address on another network. No new key: Active at once.

        The network must be of the same family as the key's, for example Ethereum and
        EthereumSepolia. A key of a test network has none on the main network. A bare key may
        have wallets on all networks of its algorithm. Messages are signed by the rules of the
        key's own network. A second request for the same network gets the same wallet.
        """
        _, wanted = await body_of(request, _ADD_WALLET)
        key = await services.keys.get_active(caller, key_id)
        wallet, is_new = await services.wallets.add(caller, key, wanted)
        return answer(wallet, 201 if is_new else 200, location=f"/v1/wallets/{wallet.id}")

    return routes
