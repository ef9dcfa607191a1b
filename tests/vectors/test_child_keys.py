"""BIP-32's own vectors, where a step is not hardened."""

import pytest
from embit import bip32

from mpc import _native as native

VECTORS = [
    (  # vector 1: m/0H, m/0H/1
        "xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw",
        1,
        "xpub6ASuArnXKPbfEwhqN6e3mwBcDTgzisQN1wXN9BJcM47sSikHjJf3UFHKkNAWbWMiGj7Wf5uMash7SyYq527Hqck2AxYysAA7xmALppuCkwQ",
    ),
    (  # vector 2: m, m/0
        "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB",
        0,
        "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH",
    ),
]


@pytest.mark.parametrize(("parent", "step", "child"), VECTORS)
def test_a_child_is_that_of_bip_32(parent: str, step: int, child: str) -> None:
    root = bip32.HDKey.from_base58(parent)
    expected = bip32.HDKey.from_base58(child)
    derived = native.derive_public_key(root.key.sec(), root.chain_code, [step])
    assert derived == expected.key.sec()
