"""What an operator types, a file for each group of commands."""
