"""Which keys a folder of share copies can recover."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from custody.wire.addresses import address_of
from mpc.recover.share_file import FileState, ShareFile
from mpc.recover.share_set import SetFacts


class SetState(StrEnum):
    COMPLETE = "complete"
    """The copies of all n signers are there."""
    ENOUGH = "enough"
    """t copies or more are there."""
    TOO_FEW = "too few"
    """Fewer than t copies are there. They give nothing."""


@dataclass
class ShareSet:
    """The good copies of one set of shares, by index. A share may have several files."""

    facts: SetFacts
    files: dict[int, list[ShareFile]] = field(default_factory=dict)

    @property
    def present(self) -> list[str]:
        return [self.facts.signers[index - 1] for index in sorted(self.files)]

    @property
    def missing(self) -> list[str]:
        return [name for name in self.facts.signers if name not in self.present]

    @property
    def state(self) -> SetState:
        if not self.missing:
            return SetState.COMPLETE
        enough = len(self.files) >= self.facts.threshold
        return SetState.ENOUGH if enough else SetState.TOO_FEW


@dataclass
class RootKey:
    """A key by its id and public key, with its sets of shares, the newest first.

    Any set that has enough shares gives the same private key: a refresh changes the shares alone.
    """

    sets: list[ShareSet]

    @property
    def facts(self) -> SetFacts:
        """Return the facts of the newest set. The key's own facts are alike in all sets."""
        return self.sets[0].facts

    @property
    def usable(self) -> ShareSet | None:
        """Return the newest set with enough shares; None if the key cannot be recovered."""
        return next((each for each in self.sets if each.state is not SetState.TOO_FEW), None)

    @property
    def state(self) -> SetState:
        """Return the state of the set that has the most of its copies.

        A newer set with too few copies proves no loss: a refresh that failed leaves one behind.
        """
        states = {each.state for each in self.sets}
        return next(each for each in SetState if each in states)

    @property
    def address(self) -> str | None:
        facts = self.facts
        if facts.network is None:
            return None
        return address_of(facts.network, facts.algorithm, facts.public_key)


@dataclass(frozen=True)
class FolderContents:
    """What a folder has: all its files, and the root keys that the good ones are copies of."""

    files: list[ShareFile]
    keys: list[RootKey]

    def files_that_are(self, state: FileState) -> list[ShareFile]:
        return [file for file in self.files if file.state is state]

    @property
    def contradictions(self) -> list[UUID]:
        """Return the key ids that share copies with several public keys name.

        A signer alone can write such copies, but it cannot make them fit those of the others.
        """
        ids = [key.facts.key_id for key in self.keys]
        return sorted({each for each in ids if ids.count(each) > 1})

    def find(self, text: str) -> list[RootKey]:
        """Return the keys with this id, beginning of an id, public key or address."""
        wanted = text.removeprefix("0x").lower()
        return [
            key
            for key in self.keys
            if str(key.facts.key_id).startswith(wanted)
            or key.facts.public_key.hex() == wanted
            or (key.address or "").lower() == text.lower()
        ]


def contents_of(files: Iterable[ShareFile]) -> FolderContents:
    """Sort the good files into keys and sets of shares."""
    files = list(files)
    sets: dict[SetFacts, ShareSet] = {}
    for file in files:
        if file.facts is not None:
            share_set = sets.setdefault(file.facts, ShareSet(file.facts))
            share_set.files.setdefault(file.index, []).append(file)
    return FolderContents(files, sorted(_keys(sets), key=lambda key: str(key.facts.key_id)))


def _keys(sets: Mapping[SetFacts, ShareSet]) -> Iterator[RootKey]:
    keys: dict[tuple[object, ...], list[ShareSet]] = {}
    for facts, share_set in sets.items():
        same = (facts.key_id, facts.algorithm, facts.public_key, facts.chain_code, facts.network)
        keys.setdefault(same, []).append(share_set)
    for each in keys.values():
        each.sort(key=lambda one: (-one.facts.generation, str(one.facts.ceremony)))
        yield RootKey(each)
