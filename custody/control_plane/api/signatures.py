"""Routes of signatures."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response, Security

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import Caller
from custody.control_plane.api.answers import WITH_BODY, answer, body, problems
from custody.control_plane.api.authentication import Requires
from custody.control_plane.api.request_signatures import (
    SignatureHeader,
    check_key,
)
from custody.control_plane.api.requests import Cursor, ExternalIdFilter, Limit, Wait, read_posted
from custody.control_plane.api.services import Services
from custody.control_plane.api.submission import NewRequest, submit
from custody.control_plane.api.waiting import until_final, wait_for
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.keys import ActiveKey
from custody.control_plane.resources.pages import DEFAULT_LIMIT, PageRequest
from custody.control_plane.resources.presentation import QUEUED, SignatureRequest, signature_of
from custody.control_plane.resources.signatures import states_of
from custody.wire.digests import NotSignable, digest_of
from custody.wire.mistakable import require_signable
from custody.wire.requests import CREATE_SIGNATURE, SignRequest
from custody.wire.resources import Page, Signature, SignatureStatus

_ONE_OF = {
    "oneOf": [
        {"$ref": "#/components/schemas/SignHash"},
        {"$ref": "#/components/schemas/SignMessage"},
        {"$ref": "#/components/schemas/SignTransaction"},
    ],
    "discriminator": {
        "propertyName": "kind",
        "mapping": {
            "Hash": "#/components/schemas/SignHash",
            "Message": "#/components/schemas/SignMessage",
            "Transaction": "#/components/schemas/SignTransaction",
        },
    },
}


def router(services: Services) -> APIRouter:
    """POST and GET of a key's signatures."""
    routes = APIRouter(prefix="/v1/keys/{key_id}/signatures", tags=["Signatures"])
    signer = Annotated[Caller, Security(Requires(services.tokens, Scope.SIGN))]
    reader = Annotated[Caller, Security(Requires(services.tokens, Scope.READ))]

    @routes.post(
        "",
        operation_id="create_signature",
        summary="Sign with a key",
        status_code=201,
        response_model=Signature,
        responses={
            200: {"model": Signature, "description": "The first result of this external_id."},
            **problems(
                *WITH_BODY,
                Code.EXTERNAL_ID_SPENT,
                Code.NOT_FOUND,
                Code.KEY_NOT_ACTIVE,
                Code.KEY_ARCHIVED,
                Code.NOT_SIGNABLE,
                Code.REQUEST_MISMATCH,
                Code.REQUEST_EXPIRED,
            ),
        },
        openapi_extra=body(
            _ONE_OF,
            message={"kind": "Message", "message": "Hello", "external_id": "payment-1"},
            bytes_as_message={"kind": "Message", "message": "0x48656c6c6f"},
            message_with_a_bare_ECDSA_key={
                "kind": "Message",
                "message": "Hello",
                "hash_function": "SHA-256",
            },
            hash={"kind": "Hash", "hash": "0x" + "5c" * 32},
            Solana_transaction={"kind": "Transaction", "transaction": "0x010001..."},
        ),
    )
    async def create_signature(
        request: Request,
        key_id: UUID,
        caller: signer,
        wait: Wait = 0,
        signature: SignatureHeader = None,
    ) -> Response:
        """Ask for a signature. With `wait` the answer is most often the signature itself.

        A message is signed as the network's wallets do it: EIP-191 on Ethereum, BIP-137 on
        Bitcoin, its bytes as they are by an Ed25519 key. A bare ECDSA key needs `hash_function`.
        A Solana transaction is signed as kind `Transaction` alone: as a `Message` it is refused.
        """
        posted = await read_posted(caller, request, CREATE_SIGNATURE, signature)
        wanted = posted.body
        key = await services.keys.active(caller.application_id, key_id)
        check_key(wanted, key_id, key.store)
        digest = _digest(wanted, key)
        submission = posted.for_group(key.node_group)
        draft = services.job_maker.make_signature(submission, key.reference, wanted)
        asked = SignatureRequest(draft.job, wanted, digest)
        show = partial(signature_of, asked, sees_details=caller.sees_details)

        async def read_new() -> Signature:
            return show(await services.signatures.progress(draft.id))

        async def read_first() -> Signature:
            return await services.signatures.get(caller, key_id, settled.job_id)

        new = NewRequest(wanted, draft, services.creation.signature)
        with services.notifications.done(draft.id) as waiter:
            settled = await submit(services, new)
            if settled.is_new:
                found = await until_final(
                    services.notifications, waiter, show(QUEUED), read_new, wait
                )
                return answer(found, 201, location=f"/v1/keys/{key_id}/signatures/{found.id}")
        first = await wait_for(services.notifications, settled.job_id, read_first, wait)
        return answer(first, 200, location=f"/v1/keys/{key_id}/signatures/{first.id}")

    @routes.get(
        "",
        operation_id="list_signatures",
        summary="List a key's signatures",
        response_model=Page[Signature],
        responses=problems(Code.NOT_FOUND),
    )
    async def list_signatures(
        caller: reader,
        key_id: UUID,
        status: SignatureStatus | None = None,
        external_id: ExternalIdFilter = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response:
        """What the key has been asked to sign, newest first."""
        await services.keys.get(caller, key_id)
        filters = {"states": states_of(status), "external_id": external_id}
        page = PageRequest(limit, cursor)
        return answer(await services.signatures.page(caller, key_id, filters, page))

    @routes.get(
        "/{signature_id}",
        operation_id="get_signature",
        summary="Get a signature",
        response_model=Signature,
        responses=problems(Code.NOT_FOUND),
    )
    async def get_signature(
        caller: reader, key_id: UUID, signature_id: UUID, wait: Wait = 0
    ) -> Response:
        """A signature; with `wait`, once its status is final. A final one never changes."""

        async def read() -> Signature:
            return await services.signatures.get(caller, key_id, signature_id)

        return answer(await wait_for(services.notifications, signature_id, read, wait))

    return routes


def _digest(wanted: SignRequest, key: ActiveKey) -> bytes | None:
    try:
        of_key = key.reference.algorithm, key.reference.network, key.reference.public_key
        require_signable(wanted, *of_key)
        return digest_of(wanted, *of_key)
    except NotSignable as error:
        raise ProblemError(Code.NOT_SIGNABLE, str(error)) from None
