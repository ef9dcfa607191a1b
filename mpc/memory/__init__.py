"""What a signer must not forget: it notices a restored database, and asks its peers."""
