"""The control plane's revisions, from empty."""
