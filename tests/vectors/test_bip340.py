"""BIP-340's vectors against the library that verifies what leaves a node."""

import csv
from pathlib import Path

import coincurve
import pytest

with (Path(__file__).parent / "bip340.csv").open(newline="") as file:
    VECTORS = list(csv.DictReader(file))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["index"] for vector in VECTORS])
def test_a_signature_verifies_or_not_as_in_bip_340(vector: dict[str, str]) -> None:
    key, message, signature = (
        bytes.fromhex(vector[field]) for field in ("public key", "message", "signature")
    )
    try:
        verified = coincurve.PublicKeyXOnly(key).verify(signature, message)
    except ValueError:  # no point has this x coordinate
        verified = False
    assert verified == (vector["verification result"] == "TRUE")
