"""`make soak`: half load in both modes, with a fault every half minute, and an account of all."""
