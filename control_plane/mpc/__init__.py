"""What signers do for applications: requests in steps, each a ceremony or an order."""
