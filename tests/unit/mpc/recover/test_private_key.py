"""The last check: whatever the copies say of themselves, their private key is the public key's."""

import pytest

from mpc import _native as native
from mpc.layer4.share_copy import ShareCopy, read_share_copy
from mpc.recover.private_key import NotRecovered, recovered
from mpc.recover.share_set import SetFacts
from tests.unit.mpc.layer4.share_copies import documents
from tests.unit.mpc.native.keys import ED25519, key


def changed(copy: ShareCopy, **fields: object) -> ShareCopy:
    return copy.model_copy(update=fields)


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_shares_that_give_another_key_give_none(protocol):
    """The facts agree with each other; one secret share is another number."""
    first, second, *_ = [read_share_copy(each) for each in documents(key(protocol)).values()]
    wrong = changed(second, secret_share=bytes(31) + b"\x07")
    with pytest.raises(NotRecovered, match="do not give the private key"):
        recovered(SetFacts.of(first), [first, wrong])


def test_copies_of_one_share_or_of_two_sets_give_no_key():
    first, second, *_ = [read_share_copy(each) for each in documents(key(ED25519)).values()]
    facts = SetFacts.of(first)
    with pytest.raises(NotRecovered, match="of the same share"):
        recovered(facts, [first, first])
    with pytest.raises(NotRecovered, match="of the same set"):
        recovered(facts, [first, changed(second, generation=5)])
    with pytest.raises(NotRecovered, match="2 copies"):
        recovered(facts, [first])
