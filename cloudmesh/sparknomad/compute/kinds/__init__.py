"""The kinds of compute that are built in."""
