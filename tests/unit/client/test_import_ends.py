"""Imports whose import keys take no key any more, and those that are never asked for."""

from dataclasses import replace

import pytest

from custody.client.errors import Failed
from custody.client.import_operations import import_key, import_wallet
from custody.client.importing.faults import BadPrivateKey
from custody.client.pinned_nodes import AttestedKeys
from custody.wire.algorithms import Network
from custody.wire.resources import ImportStatus
from tests.unit.client.test_imports import MINE, PINS, shown_import
from tests.unit.wire.protocol_examples import NODE_SIGNER


@pytest.mark.parametrize("status", [ImportStatus.USED, ImportStatus.EXPIRED])
def test_an_import_whose_keys_are_over_has_failed_and_is_not_waited_for(status: ImportStatus):
    calls = AttestedKeys(PINS).checked(import_key(MINE))
    next(calls)
    with pytest.raises(Failed, match=f"import .* is {status.value}"):
        calls.send(shown_import(NODE_SIGNER).model_copy(update={"status": status}))


def test_no_import_is_asked_for_a_key_with_a_chain_code_that_no_driver_keeps():
    with_chain_code = replace(MINE, chain_code=bytes(32))
    for calls in (import_key(with_chain_code), import_wallet(with_chain_code, Network.ETHEREUM)):
        with pytest.raises(BadPrivateKey, match="no chain code"):
            next(calls)
