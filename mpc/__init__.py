"""The MPC mode: keys that never exist whole."""
