"""Layer 4: copies of shares that only the customer can open, in the customer's own bucket."""
