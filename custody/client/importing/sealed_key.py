"""The part of a request that imports a key: the private key, sealed to the nodes that hold it."""

import secrets
from collections.abc import Sequence

from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.private_key import PrivateKey
from custody.client.importing.sealing import seal, wrap
from custody.client.importing.splitting import split
from custody.wire.algorithms import ECDSA_SECP256K1, Algorithm, Protection, Store
from custody.wire.dealing_facts import DealingFacts
from custody.wire.imports import CHAIN_CODE_SIZE, ImportedKey, ImportKeyStatement
from custody.wire.jobs import KeyHolders


def seal_key(key: PrivateKey, statements: Sequence[ImportKeyStatement]) -> ImportedKey:
    """Seal a private key to the import keys of one import: of a driver, or of all n signers.

    The caller has verified that nodes which it has pinned signed these statements. ``key`` is that
    of the wallet (``PrivateKey.for_wallet``) or the bare key. In MPC mode a key of ECDSA/secp256k1
    without a chain code gets a random one.

    Raises BadPrivateKey if the import is for another algorithm, and for a chain code that a driver
    cannot keep. Raises ValueError if the statements contradict each other, or if one is missing.
    """
    if not statements:
        raise ValueError("there is no statement of a node")
    first = statements[0]
    if any(each.agreed != first.agreed for each in statements):
        raise ValueError("the statements are of different imports, or contradict each other")
    if sorted(each.node for each in statements) != sorted(first.signers):
        raise ValueError(f"a statement of each of {', '.join(first.signers)} is needed, once")
    algorithm = Algorithm(first.scheme, first.curve)
    if key.algorithm != algorithm:
        raise BadPrivateKey(
            KeyFault.UNSUPPORTED,
            f"the import is for a key of {algorithm}, and this is a key of {key.algorithm}",
        )
    if first.protection is Protection.MPC:
        imported = _sealed_to_signers(key, statements)
        imported.check(Store.MPC, algorithm)
    else:
        imported = _wrapped_for_driver(key, first)
        imported.check(Store.HSM, algorithm)
    return imported


def _wrapped_for_driver(key: PrivateKey, statement: ImportKeyStatement) -> ImportedKey:
    return ImportedKey(
        import_id=statement.import_id,
        public_key=key.public_key,
        wrapped=wrap(key, statement.wrapping, statement.import_key),
    )


def _sealed_to_signers(key: PrivateKey, statements: Sequence[ImportKeyStatement]) -> ImportedKey:
    first = statements[0]
    chain_code = key.chain_code
    if chain_code is None and key.algorithm == ECDSA_SECP256K1:
        chain_code = secrets.token_bytes(CHAIN_CODE_SIZE)
    dealing = split(key, first.threshold, len(first.signers))
    facts = DealingFacts(
        import_id=first.import_id,
        holders=KeyHolders(
            group=first.group, threshold=first.threshold, signers=tuple(first.signers)
        ),
        algorithm=key.algorithm,
        public_key=key.public_key,
        commitments=dealing.commitments,
        chain_code=chain_code,
    )
    import_keys = {each.node: each.import_key for each in statements}
    return ImportedKey(
        import_id=first.import_id,
        public_key=key.public_key,
        commitments=dealing.commitments,
        chain_code=chain_code,
        sealed=seal(dealing, facts, import_keys),
    )
