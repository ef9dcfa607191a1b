"""The choice of a delivery server. Pure.

A server is left out when t signers of the group say that they cannot use it. Fewer may lie, and
keep no server from anybody; t that lie need no server to do harm.
"""

from custody.control_plane.conductor.planning.decisions import Pause, Reason
from custody.control_plane.conductor.planning.facts import Request

NO_SERVER = "no_delivery_server"


def usable_servers(request: Request) -> tuple[str, ...]:
    """Return the servers to choose from, in the order of the configuration."""
    return tuple(
        server
        for server in request.servers
        if len(_objections(request, server)) < request.group.threshold
    )


def no_server(request: Request) -> Pause | None:
    """Return why no server is usable; None if one is, or none is known."""
    if not request.servers or usable_servers(request):
        return None
    said = "; ".join(
        f"{server}: {next(iter(_objections(request, server).values()))}"
        for server in request.servers
    )
    summary = "no delivery server can be used"
    return Pause(Reason(NO_SERVER, f"{summary}: {said}", summary))


def _objections(request: Request, server: str) -> dict[str, str]:
    """Return the available signers' problems with a server."""
    there = request.there(request.group.signers)
    said = {signer: request.member(signer).delivery_problems.get(server) for signer in there}
    return {signer: problem for signer, problem in said.items() if problem is not None}
