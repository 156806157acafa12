"""Where hosts come from, and how they are reached."""
