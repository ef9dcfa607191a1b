"""The capabilities of this token, tried with session objects. Workers only."""

from collections.abc import Collection
from contextlib import suppress

from custody.pkcs11 import host_key, token_scheme
from custody.pkcs11.faults import destroy
from custody.pkcs11.master_key import MasterKey, newest, passing_wrapping_key
from custody.pkcs11.messages import Capability, Probed
from custody.pkcs11.round_trip import Unable, Uncertain, Way, find_way
from custody.pkcs11.session_errors import name_of, raise_unless_refusal
from custody.wire.algorithms import Algorithm, Protection
from pkcs11 import Session
from pkcs11.exceptions import PKCS11Error


def probe(
    session: Session, masters: list[MasterKey], host_algorithms: Collection[Algorithm]
) -> Probed:
    """Try every algorithm inside, and those that fail there on the host where that is allowed.

    Only an answer that the token cannot do an algorithm moves the algorithm to the host. Raises
    PKCS11Error or SessionLost after answers that say nothing certain.
    """
    capabilities = []
    why_not = {}
    master = newest(masters, is_host=False)
    wrapping = passing_wrapping_key(session) if master is None else master.key
    try:
        for algorithm in token_scheme.SCHEMES:
            try:
                capabilities.append(_inside(find_way(session, wrapping, algorithm)))
                continue
            except Uncertain as reason:
                why_not[str(algorithm)] = str(reason)
                continue
            except Unable as reason:
                why_not[str(algorithm)] = str(reason)
            if algorithm not in host_algorithms:
                continue
            try:
                _probe_host_key(masters)
                capabilities.append(_on_host(algorithm))
            except Unable as reason:
                why_not[str(algorithm)] += f"; {reason}"
    finally:
        if master is None:
            destroy(wrapping)
    return Probed(capabilities=capabilities, why_not=why_not)


def refused_by_master_key(
    session: Session, masters: list[MasterKey], probed: Probed
) -> dict[str, str]:
    """Return the algorithms that only the newest master key refuses, as in Probed.

    Raise as ``probe`` does.
    """
    if newest(masters, is_host=False) is None:
        return {}
    refused = {}
    indifferent = passing_wrapping_key(session)
    try:
        for algorithm in token_scheme.SCHEMES:
            if str(algorithm) in probed.why_not:
                with suppress(Unable):
                    way = find_way(session, indifferent, algorithm)
                    refused[str(algorithm)] = way.mechanism.name
    finally:
        destroy(indifferent)
    return refused


def _inside(way: Way) -> Capability:
    return Capability(
        algorithm=way.algorithm,
        protection=Protection.HSM,
        mechanism=way.mechanism.name,
        unwrapped_without=sorted(attribute.name for attribute in way.without),
    )


def _on_host(algorithm: Algorithm) -> Capability:
    return Capability(algorithm=algorithm, protection=Protection.HOST, mechanism=host_key.MECHANISM)


def _probe_host_key(masters: list[MasterKey]) -> None:
    """That the second AES key encrypts and decrypts with associated data. Raises Unable."""
    master = newest(masters, is_host=True)
    if master is None:
        raise Unable("host signing: there is no master key yet")
    try:
        if not host_key.travels(master):
            raise Unable("host signing: the token decrypts to something else than was encrypted")
    except PKCS11Error as error:
        raise_unless_refusal(error)
        raise Unable(f"host signing: {name_of(error)}") from None
