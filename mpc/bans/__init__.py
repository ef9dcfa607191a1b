"""With whom this signer never signs again, and what a crash left open."""
