"""Imports whose import keys take no key any more."""

import pytest

from custody.client.errors import Failed
from custody.client.import_operations import import_key
from custody.client.pinned_nodes import AttestedKeys
from custody.wire.resources import ImportStatus
from tests.unit.client.test_imports import MINE, PINS, shown_import
from tests.unit.wire.protocol_examples import NODE_SIGNER


@pytest.mark.parametrize("status", [ImportStatus.USED, ImportStatus.EXPIRED])
def test_an_import_whose_keys_are_over_has_failed_and_is_not_waited_for(status: ImportStatus):
    calls = AttestedKeys(PINS).checked(import_key(MINE))
    next(calls)
    with pytest.raises(Failed, match=f"import .* is {status.value}"):
        calls.send(shown_import(NODE_SIGNER).model_copy(update={"status": status}))
