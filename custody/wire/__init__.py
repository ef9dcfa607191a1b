"""The contract that every process speaks: models, signed bytes, digests, addresses. No I/O."""
