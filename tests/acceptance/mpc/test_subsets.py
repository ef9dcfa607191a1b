"""Any t of the n signers sign, whichever they are, and nobody else has a part in it."""

import time
from itertools import combinations

import pytest

from custody.client import Key, NotFinal
from tests.acceptance.mpc.conftest import (
    GROUPS,
    SCHEMES,
    frozen,
    make_key,
    members,
    sign_and_check,
    signed_by,
)

SECONDS = 30


@pytest.fixture(scope="module")
def key_of(custody, keys):
    """The 2-of-3 key of a scheme, or one of another group, made when it is first asked for."""
    made: dict[tuple[str, str], Key] = {("2-of-3", scheme): key for scheme, key in keys.items()}

    def get(group: str, scheme: str) -> Key:
        if (group, scheme) not in made:
            made[group, scheme] = make_key(custody, scheme, group)
        return made[group, scheme]

    return get


CASES = [
    *(("2-of-3", tuple(SCHEMES), subset) for subset in combinations(members(3), 2)),
    *(("3-of-5", ("EdDSA", "ECDSA"), subset) for subset in combinations(members(5), 3)),
    *(("4-of-7", ("EdDSA",), subset) for subset in combinations(members(7), 4)),
]


@pytest.mark.parametrize(
    ("group", "schemes", "subset"),
    CASES,
    ids=[f"{group} {'+'.join(name[-1] for name in subset)}" for group, _, subset in CASES],
)
def test_every_subset_of_the_threshold_signs(stack, custody, key_of, group, schemes, subset):
    _, count = GROUPS[group]
    others = [stack.signers[name] for name in members(count) if name not in subset]
    keys = [key_of(group, scheme) for scheme in schemes]
    with frozen(custody, others):
        for key in keys:
            signature = sign_and_check(custody, key, " ".join(subset).encode())
            deadline = time.monotonic() + SECONDS  # the API has it at the first report
            while signed_by(stack, signature.id) != set(subset):
                assert time.monotonic() < deadline, signed_by(stack, signature.id)
                time.sleep(0.02)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_fewer_than_the_threshold_signs_nothing(stack, custody, keys, scheme):
    with frozen(custody, [stack.signers["signer-1"], stack.signers["signer-2"]]):
        sign = custody.sign_message if scheme == "EdDSA" else custody.sign_hash
        with pytest.raises(NotFinal) as caught:
            sign(keys[scheme].id, b"a" * 32, wait=3)
        assert signed_by(stack, caught.value.resource.id) == set()
    signature = custody.get_signature(keys[scheme].id, caught.value.resource.id, wait=30)
    assert signature.signature is not None
