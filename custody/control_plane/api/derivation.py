"""Keys derived from a master key: BIP-32, unhardened, from public keys alone, so there at once."""

from functools import partial
from typing import TypeVar
from uuid import UUID

from custody.control_plane.api.requests import Posted
from custody.control_plane.api.services import Services
from custody.control_plane.api.submission import NewRequest, submit
from custody.control_plane.jobs.queue import NewJob
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.archivals import require_unarchived
from custody.control_plane.resources.external_ids import Settled
from custody.control_plane.resources.key_rows import NewKey, key_row, wallet_row
from custody.wire.addresses import address_of
from custody.wire.algorithms import Network, Protection, Store
from custody.wire.derivation import child_chain_code, child_public_key, format_path, parse_path
from custody.wire.jobs import MAX_DEPTH, KeyReference, child_key_id
from custody.wire.outcomes import GeneratedKey
from custody.wire.requests import CreateWallet, DeriveKey
from custody.wire.resources import Key

PROBLEMS = (Code.NOT_FOUND, Code.KEY_NOT_ACTIVE, Code.KEY_ARCHIVED, Code.NOT_DERIVABLE)


AnyDerivation = TypeVar("AnyDerivation", CreateWallet, DeriveKey)


async def derive(services: Services, parent: Key, posted: Posted[AnyDerivation]) -> Settled:
    """Add a child of an Active key; with a wallet, where one was asked for. Raises ProblemError."""
    body = posted.body
    assert body.path is not None  # the model sees to it
    network = body.network if isinstance(body, CreateWallet) else None
    reference, chain_code = child_of(parent, body.path, network)
    if network != parent.network:
        root = parent
        if parent.root is not None:
            root = await services.keys.get(posted.caller, parent.root)
        require_network(root, network)
    assert reference.public_key is not None
    result = GeneratedKey(
        scheme=reference.scheme,
        curve=reference.curve,
        public_key=reference.public_key,
        protection=Protection.MPC,
    )
    submission = posted.for_group(services.groups.serving(Store.MPC))
    asked = reference.model_copy(update={"public_key": None})
    draft = services.job_maker.derive_key(submission, asked, body, parent.id, result)
    address = network and address_of(network, reference.algorithm, reference.public_key)

    async def add(new: NewJob) -> Settled:
        row = key_row(
            new,
            reference,
            Store.MPC,
            signer_group=parent.signer_group,
            result=result,
            chain_code=chain_code,
            attestations=parent.attestations,
            imported=parent.imported,
            name=body.name if address is None else None,
        )
        wallet = None if address is None else wallet_row(new, row, address, body.name)
        return await services.creation.key(NewKey(new, row, wallet, body.tags or ()))

    root_id = reference.root or reference.id
    require_possible = partial(
        require_unarchived, services.database, parent.id, root_id, reference.path
    )
    return await submit(
        services, NewRequest(body, draft, add, require_possible, looks_up_first=True)
    )


def require_network(root: Key, network: Network | None) -> None:
    """Raise ProblemError not_derivable for a child that signers would refuse to sign for.

    The children of a wallet's key are keys of wallets of the same network: else one private key
    would sign what two networks, or a bare key, mean by a message.
    """
    if root.network in (None, network):
        return
    raise ProblemError(
        Code.NOT_DERIVABLE,
        f"Key {root.id} is of a wallet on {root.network.value}, and so are all keys derived "
        "from it. For other networks, or for keys without a wallet, derive from a key that was "
        "made by POST /v1/keys.",
    )


def child_of(parent: Key, path: str, network: Network | None) -> tuple[KeyReference, bytes]:
    """Return a child under its permanent id, and its chain code.

    Raises ProblemError not_derivable.
    """
    if parent.chain_code is None or parent.public_key is None:
        raise ProblemError(
            Code.NOT_DERIVABLE,
            f"Key {parent.id} has no children: only ECDSA keys on secp256k1 of store mpc have.",
        )
    root: UUID = parent.root or parent.id
    before = () if parent.path is None else parse_path(parent.path)
    try:
        numbers = parse_path(path)
        if len(before) + len(numbers) > MAX_DEPTH:
            raise ValueError(
                f"{format_path(before + numbers)} has more than {MAX_DEPTH} child numbers"
            )
        public_key = child_public_key(parent.public_key, parent.chain_code, numbers)
        chain_code = child_chain_code(parent.public_key, parent.chain_code, numbers)
    except ValueError as error:
        raise ProblemError(Code.NOT_DERIVABLE, f"path: {error}") from None
    reference = KeyReference(
        id=child_key_id(root, before + numbers, network),
        root=root,
        path=before + numbers,
        scheme=parent.scheme,
        curve=parent.curve,
        network=network,
        public_key=public_key,
    )
    return reference, chain_code
