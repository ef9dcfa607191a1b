"""The operations of a worker that are about imports. Workers only."""

from collections.abc import Sequence
from functools import partial

from custody.pkcs11 import import_keys, import_opening, import_pair
from custody.pkcs11.errors import HsmFailure
from custody.pkcs11.faults import destroy
from custody.pkcs11.import_format import split
from custody.pkcs11.master_key import MasterKey, newest
from custody.pkcs11.messages import (
    Capability,
    Generated,
    ImportKey,
    ImportKeyMade,
    ImportKeys,
    ImportTried,
    ListImportKeys,
    MakeImportKey,
    RemoveImportKeys,
)
from custody.pkcs11.session_keys import SessionKeys, wrap_new_key
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import Protection
from pkcs11 import Session

ImportOperation = MakeImportKey | ImportKey | ListImportKeys | RemoveImportKeys
ImportAnswer = Generated | ImportKeyMade | ImportKeys


class Importing:
    """``label``: of the master keys. ``keys``: None for a worker that proved no master keys."""

    def __init__(self, session: Session, label: str, keys: SessionKeys | None) -> None:
        self._session = session
        self._master_key_label = label
        self._keys = keys

    def do(self, operation: ImportOperation) -> ImportAnswer:
        """Raise HsmFailure or SessionLost."""
        match operation:
            case MakeImportKey():
                return self._make(operation)
            case ImportKey():
                return Generated(key=self._take_in(operation))
            case RemoveImportKeys():
                labels = self._labels(operation)
                import_keys.remove(self._session, labels, operation.import_ids)
                return self._present(labels)
            case ListImportKeys():
                return self._present(self._labels(operation))

    def _labels(self, operation: ListImportKeys | RemoveImportKeys) -> Sequence[str]:
        labels = import_keys.Labels.of(self._master_key_label, operation.owner)
        return labels.others(self._session) if operation.others else labels.both

    def _present(self, labels: Sequence[str]) -> ImportKeys:
        return ImportKeys(import_ids=import_keys.present(self._session, labels))

    def _make(self, operation: MakeImportKey) -> ImportKeyMade:
        capability, master = self._proved().place_of(operation.algorithm)
        import_key, wrapping = import_keys.make(
            self._session,
            import_keys.Labels.of(self._master_key_label, operation.owner).own,
            operation.import_id,
            capability,
            partial(wrap_new_key, master, capability),
        )
        return ImportKeyMade(
            import_key=import_key, wrapping=wrapping, protection=capability.protection
        )

    def _take_in(self, operation: ImportKey) -> WrappedKey:
        keys, algorithm = self._proved(), operation.algorithm
        capability, master = keys.place_of(algorithm)
        if capability.protection is not operation.protection:
            raise HsmFailure(
                f"new keys of {algorithm} have protection {capability.protection} here, and the "
                f"import is for {operation.protection}"
            )
        labels = import_keys.Labels.of(self._master_key_label, operation.owner).both
        pair = import_keys.find(self._session, labels, operation.import_id, operation.import_key)
        announced = import_opening.AnnouncedKey(
            pair=pair,
            wrapping=operation.wrapping,
            wrapped=split(operation.wrapped, pair.size),
            algorithm=algorithm,
            public_key=operation.public_key,
        )
        if capability.protection is Protection.HOST:
            secret = import_opening.open_on_host(announced)
            wrapped = keys.seal_host_key(master, algorithm, secret, operation.public_key)
        else:
            private_key = import_opening.open_inside(announced)
            try:
                wrapped = wrap_new_key(master, capability, private_key)
            finally:
                destroy(private_key)
        return WrappedKey(
            algorithm=algorithm,
            public_key=operation.public_key,
            protection=capability.protection,
            wrapped=wrapped,
            master_key=master.name,
            mechanism=capability.mechanism,
            imported=True,
        )

    def _proved(self) -> SessionKeys:
        if self._keys is None:
            raise HsmFailure("this worker has proved no master keys")
        return self._keys


def try_imports(
    session: Session, masters: Sequence[MasterKey], capabilities: list[Capability]
) -> ImportTried:
    """Import a made-up key of each algorithm with a session's import key. Nothing is stored."""
    tried = ImportTried(ways={})
    with import_keys.writable(session):
        pass
    for protection in {each.protection for each in capabilities}:
        chosen = [each for each in capabilities if each.protection is protection]
        try:
            pair = import_pair.generate(session, protection, store=False)
        except HsmFailure as failure:
            tried.refusals.update({str(each.algorithm): failure.reason for each in chosen})
            continue
        try:
            for capability in chosen:
                _try(tried, pair, masters, capability)
        finally:
            destroy(pair.private)
    return tried


def _try(
    tried: ImportTried,
    pair: import_pair.ImportPair,
    masters: Sequence[MasterKey],
    capability: Capability,
) -> None:
    """Import a made-up key of one algorithm, and add the answer to ``tried``."""
    algorithm, protection = capability.algorithm, capability.protection
    master = newest(list(masters), protection is Protection.HOST)
    if master is None:
        tried.refusals[str(algorithm)] = "the token has no master key for it"
        return
    wrap = partial(wrap_new_key, master, capability)
    try:
        way = import_opening.find_wrapping(pair, algorithm, protection, wrap)
    except HsmFailure as failure:
        tried.refusals[str(algorithm)] = failure.reason
    else:
        tried.ways[str(algorithm)] = way
