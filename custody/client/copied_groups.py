"""Name both groups of a copy in its request, as this application has pinned them.

Signers compare them with what the control plane tells them. So it can choose neither the signers
that get shares of the key, nor the signers whose word for the old shares is believed.
"""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from custody.client.calls import Answer, Call, Calls, Wish, content, get, with_each
from custody.client.pinned_nodes import AttestedKeys
from custody.wire.jobs import KeyHolders
from custody.wire.requests import CopyKey
from custody.wire.resources import Key


def with_pinned_groups(calls: Calls[Answer], attested: AttestedKeys) -> Calls[Answer]:
    """Return the same operation, whose request for a copy names both groups. Raise NotAttested."""

    def named(call: Call[Any]) -> Calls[Call[Any]]:
        if call.wish is None or not isinstance(call.wish.request, CopyKey):
            return call
        return (yield from _named(call, call.wish, call.wish.request, attested))

    return with_each(calls, named)


def _named(
    call: Call[Answer], wanted: Wish, request: CopyKey, attested: AttestedKeys
) -> Generator[Call[Any], Any, Call[Answer]]:
    origin = yield from get(f"/v1/keys/{wanted.key_id}", Key)
    yield from attested.check(origin)
    if origin.public_key is None or not (origin.signer_group and origin.signers):
        return call  # of a key that cannot be copied the service says why
    new = attested.signer_group(request.signer_group)
    old = attested.signer_group(origin.signer_group)
    named = request.model_copy(
        update={
            "threshold": new.threshold,
            "signers": list(new.signers),
            "held_by": KeyHolders(
                group=origin.signer_group,
                threshold=old.threshold,
                signers=tuple(origin.signers),  # pinned, and attested in order of their index
            ),
        }
    )
    return replace(call, wish=replace(wanted, request=named), body=content(named))
