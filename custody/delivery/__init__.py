"""The delivery server: takes signers' messages to each other, and cannot read them."""
