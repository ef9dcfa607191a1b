"""What an application does to import a key: split it, and seal a sub-share to each signer."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

from custody.wire.algorithms import ECDSA_SECP256K1, SCHNORR_SECP256K1
from custody.wire.dealing_facts import DealingFacts
from custody.wire.hybrid_keys import HybridPublicKey
from custody.wire.imports import ImportedKey, ImportKeyStatement
from custody.wire.outcomes import Outcome, PreparedImport
from custody.wire.tickets import protocol_of
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Key, holders_of
from tests.integration.ceremonies.parties import Parties
from tests.unit.mpc.native import feldman


@dataclass
class Application:
    """Has a private key, which it imports. Tests change its fields to lie."""

    key: Key
    private_key: int = field(default_factory=lambda: 1 + secrets.randbelow(2**250))
    chain_code: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def __post_init__(self) -> None:
        curve = feldman.curve_of(protocol_of(self.key.algorithm))
        others = [1 + secrets.randbelow(2**250) for _ in range(1, self.key.threshold)]
        dealing = feldman.deal(curve, [self.private_key, *others], len(self.key.signers))
        self.commitments = dealing.commitments
        self.sub_shares = dict(zip(self.key.signers, dealing.sub_shares.values(), strict=True))

    @property
    def public_key(self) -> bytes:
        is_x_only = self.key.algorithm == SCHNORR_SECP256K1
        return self.commitments[0][1:] if is_x_only else self.commitments[0]

    @property
    def sealed_chain_code(self) -> bytes | None:
        return self.chain_code if self.key.algorithm == ECDSA_SECP256K1 else None

    def imported(self, statements: Mapping[str, ImportKeyStatement]) -> ImportedKey:
        import_id = next(iter(statements.values())).import_id
        return ImportedKey(
            import_id=import_id,
            public_key=self.public_key,
            commitments=self.commitments,
            chain_code=self.sealed_chain_code,
            sealed={
                signer: self.seal(signer, import_id, statements[signer].import_key)
                for signer in self.key.signers
            },
        )

    def seal(self, signer: str, import_id: UUID, import_key: bytes) -> bytes:
        facts = DealingFacts(
            import_id=import_id,
            holders=holders_of(self.key),
            algorithm=self.key.algorithm,
            public_key=self.public_key,
            commitments=self.commitments,
            chain_code=self.sealed_chain_code,
        )
        return HybridPublicKey(import_key).seal(self.sub_shares[signer], facts.sealed_for(signer))


async def import_keys(parties: Parties, key: Key) -> dict[str, ImportKeyStatement]:
    """Have each signer make an import key, for an import of its own."""
    order = orders.prepare_import(replace(key, network=None, public_key=None, id=uuid4()))
    outcomes = await parties.hold(order, key.signers)
    return {name: stated(outcome) for name, outcome in outcomes.items()}


def stated(outcome: Outcome) -> ImportKeyStatement:
    assert isinstance(outcome.result, PreparedImport), outcome
    [statement] = outcome.result.statements
    return ImportKeyStatement.model_validate_json(statement.payload)


async def import_whole(parties: Parties, application: Application) -> Key:
    """Import the application's key, up to its use."""
    statements = await import_keys(parties, application.key)
    order = orders.import_key(application.key, application.imported(statements))
    confirmed = await parties.prepare(order)
    return await parties.take_into_use(application.key, order, confirmed)
