"""The delivery server: passes sealed messages between signers, and cannot read them."""
