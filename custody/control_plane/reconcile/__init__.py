"""Comparison of a restored control plane's database with what the nodes hold, and its repair."""
