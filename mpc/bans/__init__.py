"""The peers that this signer never signs with again, and what a crash left open."""
