"""Bearer tokens at the door: each route says which scope it needs."""

from fastapi import Request
from fastapi.openapi.models import HTTPBearer as BearerScheme
from fastapi.security.base import SecurityBase
from starlette.datastructures import Headers

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import Caller, Tokens
from custody.control_plane.problems import Code, ProblemError

DESCRIPTION = (
    "A token of `control-plane token create`. Scopes: `read` for every GET, `wallets` to create "
    "wallets and keys, to import, name, copy and archive keys, and to refresh and repair their "
    "shares, `sign` to create signatures, `admin` for all of these, for signer groups, and to "
    "see what is for operators: what is wrong with nodes, who froze them, bans, and the parts "
    "of a request's reason that name them. An application sees only what its own tokens made."
)


def bearer_token(headers: Headers) -> str:
    """Return the token of a request. Raises ProblemError unless exactly one was sent."""
    sent = headers.getlist("authorization")
    if len(sent) > 1:
        raise ProblemError(Code.UNAUTHENTICATED, "Send the header Authorization once.")
    scheme, _, token = "".join(sent).partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise ProblemError(Code.UNAUTHENTICATED, "Send the header Authorization: Bearer TOKEN.")
    return token


class Requires(SecurityBase):
    """A dependency: the caller, whose token is valid and has the scope."""

    def __init__(self, tokens: Tokens, scope: Scope) -> None:
        self._tokens = tokens
        self._scope = scope
        self.scheme_name = "token"
        self.model = BearerScheme(description=DESCRIPTION)

    async def __call__(self, request: Request) -> Caller:
        """Return the caller. Raise ProblemError unauthenticated or missing_scope."""
        caller = await self._tokens.caller(bearer_token(request.headers))
        if caller is None:
            raise ProblemError(
                Code.UNAUTHENTICATED,
                "This token is unknown, revoked or expired. An operator makes a new one with "
                "`control-plane token create`.",
            )
        if not caller.may(self._scope):
            raise ProblemError(
                Code.MISSING_SCOPE,
                f"This token lacks the scope {self._scope}. An operator makes one that has it "
                f"with `control-plane token create --scope {self._scope}`.",
            )
        return caller
