"""The revisions of the mpc_signer tree, from empty."""
