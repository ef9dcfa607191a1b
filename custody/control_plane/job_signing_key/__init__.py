"""The key that signs jobs and tickets: its files, who pins it, and its replacement."""
