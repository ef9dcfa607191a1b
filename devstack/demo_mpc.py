"""The demo's MPC part: keys in shares, signatures while signers are down, validation gates."""

import time
from dataclasses import dataclass

from custody.client import AddressType, Custody, Network, Reason, Rejected, Signature, Store
from devstack.demo_results import Made
from devstack.demo_steps import sign, verify
from devstack.gate import ExampleGate
from devstack.launcher import Tied
from devstack.progress import say, step
from devstack.service import start_together, stop_together
from devstack.signer import Signer
from devstack.signer_groups import SIGNER_GROUPS, THREE_OF_FIVE, TWO_OF_THREE, create_signer_groups
from devstack.stack import Stack
from devstack.verification import NotVerified

MESSAGE = "Hello from {name}: signed by {threshold} of {count} signers, none of which has the key"
WAITING = "waiting_for_signers"
PATIENCE = 60.0
REFUSED_MESSAGE = "drain the wallet"
"""The example's policy rejects the first of these words."""
GATED = ("signer-1", "signer-2")
"""Signers of two owners. Without them, a 2-of-3 group has one signer left, which is too few."""
CHILD_PATH = "m/0/5"


@dataclass(frozen=True)
class Wanted:
    name: str
    network: Network
    group: str
    address_type: AddressType | None = None


WALLETS = (
    Wanted("Ethereum wallet", Network.ETHEREUM, THREE_OF_FIVE),
    Wanted("Bitcoin Taproot wallet", Network.BITCOIN, TWO_OF_THREE, AddressType.P2TR),
    Wanted("Solana wallet", Network.SOLANA, TWO_OF_THREE),
)


class MpcDemo:
    """The MPC part, on a stack with five signers. It stops and starts some of these signers."""

    def __init__(self, stack: Stack, custody: Custody) -> None:
        self._stack = stack
        self._custody = custody

    def run(self) -> list[Made]:
        """Run the MPC part. Raise OperatorError, CustodyError or NotVerified."""
        say("Keys in shares: five signers, each with a database and keys of its own")
        with step(f"signer groups: {', '.join(SIGNER_GROUPS)}"):
            for group in create_signer_groups(self._custody):
                alone = group.single_owner_quorum
                owners = ", ".join(str(owner) for owner in group.owners)
                says = f"{alone} alone reaches it" if alone else "no owner alone reaches it"
                say(f"      {group.name}: signers of {owners}; threshold {group.threshold}, {says}")
        made = [self._make(wanted) for wanted in WALLETS]
        ethereum, _, solana = made
        made.append(self._derive(ethereum))
        made += self._stop_some(ethereum)
        self._ask_a_gate(solana)
        return made

    def _make(self, wanted: Wanted) -> Made:
        composition = SIGNER_GROUPS[wanted.group]
        count = len(composition.signers)
        name = f"{composition.threshold}-of-{count} {wanted.name}"
        with step(f"{name}: {count} signers make the shares"):
            wallet = self._custody.create_wallet(
                wanted.network,
                Store.MPC,
                signer_group=wanted.group,
                address_type=wanted.address_type,
            )
            key = self._custody.get_key(wallet.key_id)
        message = MESSAGE.format(
            name=wanted.network.value, threshold=composition.threshold, count=count
        )
        return sign(self._custody, name, wallet, key, message)

    def _derive(self, master: Made) -> Made:
        name = f"its child {CHILD_PATH}"
        with step(f"{name}: derive a wallet, without a ceremony"):
            wallet = self._custody.create_wallet(
                Network.ETHEREUM, Store.MPC, master_key=master.key.id, path=CHILD_PATH
            )
            key = self._custody.get_key(wallet.key_id)
        return sign(self._custody, name, wallet, key, "Hello from a child key")

    def _stop_some(self, ethereum: Made) -> list[Made]:
        """Sign while two of five signers are down; then sign late, after a third signer is back."""
        signers = self._stack.signers
        away = [signers["signer-4"], signers["signer-5"]]
        with step("stop signer-4 and signer-5"):
            stop_together(away)
        name = f"{ethereum.name}, two signers away"
        message = "Hello while two of the five are away"
        made = [sign(self._custody, name, ethereum.wallet, ethereum.key, message)]
        with step("stop signer-3 too"):
            signers["signer-3"].stop()
        made.append(self._sign_when_back(ethereum, signers["signer-3"]))
        with step("start signer-4 and signer-5 again"):
            start_together(away)
        return made

    def _sign_when_back(self, ethereum: Made, missing: Signer) -> Made:
        name, message = f"{ethereum.name}, one signer late", "Hello after a wait"
        with step(f"{name}: sign {message!r}, until the API says what it waits for"):
            waiting = self._custody.sign_message(ethereum.key.id, message, wait=0)
            reason = self._reason_of(waiting, WAITING)
        say(f"      the API says: {waiting.status.value}, {reason.detail}")
        with step(f"start {missing.name} again, until the request is done"):
            missing.start()
            signature = self._custody.get_signature(ethereum.key.id, waiting.id, wait=PATIENCE)
        return verify(name, ethereum.wallet, ethereum.key, message, signature)

    def _reason_of(self, signature: Signature, code: str) -> Reason:
        """Wait until the API gives this code for a pending signature. Return the reason."""
        deadline = time.monotonic() + PATIENCE
        while signature.reason is None or signature.reason.code != code:
            if signature.status.is_final or time.monotonic() > deadline:
                raise NotVerified(
                    f"signature {signature.id} should wait for {code}, is {signature.status.value}"
                )
            time.sleep(0.2)
            signature = self._custody.get_signature(signature.key_id, signature.id)
        return signature.reason

    def _ask_a_gate(self, made: Made) -> None:
        """Start gates for the signers of two owners, and show that they stop a signature."""
        signers = [self._stack.signers[name] for name in GATED]
        gates = {signer: self._gate_of(signer) for signer in signers}
        owners = " and ".join(signer.owner for signer in signers)
        try:
            with step(f"{owners}: start {', '.join(GATED)} again, each with its owner's gate"):
                start_together(list(gates.values()))
                stop_together(signers)
                for signer, gate in gates.items():
                    signer.add_sections({"gate": gate.settings()})
                start_together(signers)
            with step(f"{made.name}: sign {REFUSED_MESSAGE!r}, and be rejected"):
                try:
                    self._custody.sign_message(made.key.id, REFUSED_MESSAGE)
                except Rejected as rejected:
                    reason = rejected.resource.reason
                else:
                    raise NotVerified("the signers signed a message that their gates reject")
            say(f"      the API says: Rejected, {reason.detail if reason else '?'}")
        finally:
            for gate in gates.values():
                gate.stop()

    def _gate_of(self, signer: Signer) -> ExampleGate:
        """Return the example of a validation gate (docs/examples/gate) for the signer's owner."""
        name = f"gate-{signer.owner}"
        leaf = self._stack.certificates.server(name)
        return ExampleGate(name, self._stack.folder / name, leaf, Tied())
