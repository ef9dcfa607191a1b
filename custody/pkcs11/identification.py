"""Tells the token's keys that are ours from the others. Workers only.

A name proves nothing: anybody with the PIN can store a key under any label and CKA_ID. A key is
ours if it opens a proof that the database has (docs/adr/0031).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from custody.pkcs11 import key_proof
from custody.pkcs11.login import CannotStart
from custody.pkcs11.master_key import MasterKey, describe, must_be_made_inside
from custody.pkcs11.messages import (
    WHY_RETIRED,
    Hello,
    KeyProof,
    KnownKey,
    MasterKeyRecord,
    Obstacle,
    Stranger,
)
from custody.pkcs11.weakness import TooWeak, Weakness, too_weak, verdict
from pkcs11 import Session


class Candidate:
    """A key on the token, and what it has proved."""

    def __init__(self, session: Session, master: MasterKey) -> None:
        self._session = session
        self.master = master
        self.known: KnownKey | None = None
        self.proof: KeyProof | None = None
        self._computed: bytes | None = None
        self._is_computed = False

    @property
    def name(self) -> str:
        return self.master.name

    @property
    def is_new_proof(self) -> bool:
        """Return whether the database lacks the proof."""
        return self.proof is not None and (
            self.known is None or self.proof not in self.known.proofs
        )

    @property
    def check_value(self) -> bytes | None:
        """Return the value that the database knows; for a new key, the one that it is to learn."""
        if self.known is not None:
            return self.known.check_value
        return self.computed() or (None if self.proof is None else self.proof.value)

    def computed(self) -> bytes | None:
        """Return the check value that the token computes, if it does."""
        if not self._is_computed:
            self._computed = key_proof.computed_check_value(self._session, self.master)
            self._is_computed = True
        return self._computed

    def recognise(self, known: Iterable[KnownKey]) -> None:
        """Note which of the known keys this is, and the proof. Raise PKCS11Error: session lost."""
        named = [key for key in known if key.name in (None, self.name)]
        named.sort(key=lambda key: key.name is None)
        for key in named:
            for proof in key.proofs:
                if key_proof.refusal(self.master, proof) is None:
                    self.known, self.proof = key, proof
                    return
        # A database of before the proofs, or a clone that lacks the mechanism of every proof.
        for key in named:
            if self._is_by_other_means(key):
                self.known = key
                self.make_proof()
                return

    def _is_by_other_means(self, known: KnownKey) -> bool:
        computed = self.computed()
        if computed is not None and computed == known.check_value:
            return True
        names_a_proof = any(proof.value == known.check_value for proof in known.proofs)
        if computed is not None and not names_a_proof:
            return False
        return any(
            key_proof.refusal_of_stored_key(self._session, self.master, key) is None
            for key in known.stored_keys
        )

    def make_proof(self) -> None:
        self.proof = key_proof.make_proof(self._session, self.master)

    def values(self) -> Iterator[bytes]:
        """Yield the values that this key has proved: the ones by which a configuration can pin."""
        if self.proof is not None:
            yield self.proof.value
        if (computed := self.computed()) is not None:
            yield computed

    def refusal(self) -> str | None:
        """Return why the key no longer proves itself; None if it does. Raise PKCS11Error."""
        if self.proof is not None:
            return key_proof.refusal(self.master, self.proof)
        if key_proof.computed_check_value(self._session, self.master) == self._computed:
            return None
        return "the check value is not what it was"

    def record(self, *, database_asked: bool) -> MasterKeyRecord:
        """Return the facts for an operator. A new key's are those that the token computes."""
        new_proof = self.proof if self.known is not None and self.is_new_proof else None
        check_value = self.computed() if self.known is None else self.known.check_value
        # The known value first: an operator has noted it.
        pins = sorted(self.values(), key=lambda value: value != check_value)
        adopted = self.known is not None if database_asked else None
        return describe(self.master, check_value, pins, new_proof, adopted)


WeaknessesOf = Callable[[Candidate], list[Weakness]]
"""Returns why a key is weaker than the token can make it."""

OF_RESTORED = ("ALWAYS_SENSITIVE is false", "NEVER_EXTRACTABLE is false")
"""The weaknesses of a key that came from the HSM's backup (strength.py)."""
EXTRACTABLE = "EXTRACTABLE is true"
"""The weakness of a key that was made for cloning (strength.py)."""


@dataclass(frozen=True)
class Identified:
    """``known``: what the database knows. ``new``: what it may learn, each with a name of its own.

    ``strangers``: neither.
    """

    known: list[Candidate] = field(default_factory=list)
    new: list[Candidate] = field(default_factory=list)
    strangers: list[Stranger] = field(default_factory=list)


def identify(
    session: Session,
    masters: Sequence[MasterKey],
    known: Sequence[KnownKey],
    *,
    to_list: bool = False,
) -> Identified:
    """Sort the keys on the token. Raise PKCS11Error only if the session is lost.

    Raise CannotStart where one name means two keys; not with ``to_list``, which makes strangers of
    them.
    """
    found = Identified()
    by_name: dict[str, list[Candidate]] = defaultdict(list)
    for master in masters:
        by_name[master.name].append(Candidate(session, master))
    for name, candidates in by_name.items():
        for candidate in candidates:
            candidate.recognise(known)
        ours = [candidate for candidate in candidates if candidate.known is not None]
        others = [candidate for candidate in candidates if candidate.known is None]
        if to_list and len(ours) > 1:
            ours, others = [], candidates
        if not to_list and (len(ours) > 1 or (not known and len(others) > 1)):
            raise CannotStart(
                Obstacle.MASTER_KEY,
                f"the token has several keys {name!r}",
                "Which one is meant must never be a guess: move one away with the vendor's tool.",
            )
        found.known.extend(ours)
        if not ours and len(others) == 1:
            found.new.extend(others)
        else:
            found.strangers.extend(_stranger(each, known) for each in others)
    return found


def _stranger(candidate: Candidate, known: Sequence[KnownKey]) -> Stranger:
    is_other = candidate.known is None and any(key.name == candidate.name for key in known)
    why = "it is another key than the one of this database" if is_other else "several have the name"
    return Stranger(name=candidate.name, why=why)


@dataclass(frozen=True)
class InUse:
    """The keys that a worker uses, and why it uses no others. ``weak``: as in Ready."""

    keys: list[Candidate]
    strangers: list[Stranger]
    weak: dict[str, str] = field(default_factory=dict)


def choose(found: Identified, hello: Hello, weaknesses_of: WeaknessesOf) -> InUse:
    """Return the keys to use. Raise CannotStart for a key that might give keys away to somebody.

    With ``accept_new`` of ``hello``: also keys that the database does not know, and retired ones.
    """
    chosen = InUse([], list(found.strangers))
    known, accept_new = hello.known, hello.accept_new
    retired = [each for each in found.known if each.known is not None and each.known.retired]
    for candidate in found.known:
        if candidate not in retired:
            _use(candidate, hello, weaknesses_of, chosen)
    for candidate in (*retired, *found.new):
        if not accept_new:
            why = WHY_RETIRED if candidate in retired else _why_unused(candidate, known)
            chosen.strangers.append(Stranger(name=candidate.name, why=why))
            continue
        try:
            _use(candidate, hello, weaknesses_of, chosen)
        except CannotStart as error:
            if not known:
                raise
            is_weaker = isinstance(error, TooWeak)
            chosen.strangers.append(
                Stranger(name=candidate.name, why=error.what, is_weaker=is_weaker)
            )
    return chosen


def _use(candidate: Candidate, hello: Hello, weaknesses_of: WeaknessesOf, chosen: InUse) -> None:
    """Add a key to the chosen ones. Raise CannotStart."""
    restored = must_be_made_inside(candidate.master, candidate.values(), hello.restored)
    if candidate.known is None:
        _prove_new(candidate)
    weaknesses = weaknesses_of(candidate)
    if restored is not None:
        excused = (*OF_RESTORED, EXTRACTABLE) if restored.extractable else OF_RESTORED
        weaknesses = [each for each in weaknesses if each.what not in excused]
    if weaknesses:
        if not hello.accept_weaker and not set(candidate.values()) & set(hello.weaker):
            raise too_weak(candidate.name, _value_to_pin(candidate), weaknesses)
        chosen.weak[candidate.name] = verdict(weaknesses)
    chosen.keys.append(candidate)


def _value_to_pin(candidate: Candidate) -> bytes:
    pin = next((value for value in candidate.values() if value == candidate.check_value), None)
    return pin or next(candidate.values(), b"")


def _why_unused(candidate: Candidate, known: Sequence[KnownKey]) -> str:
    if any(key.name == candidate.name for key in known):
        return "it is another key than the one of this database"
    return "this database does not know it: hsm-driver master-key adopt, if you made it"


def _prove_new(candidate: Candidate) -> None:
    candidate.make_proof()
    if candidate.check_value is None:
        raise CannotStart(
            Obstacle.MASTER_KEY,
            f"the key {candidate.name!r} proves nothing: it wraps no key that it unwraps again, "
            "and the token creates no known key to wrap",
            "Run the doctor command: it shows which wrap mechanisms the token has.",
        )
