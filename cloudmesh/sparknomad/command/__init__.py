"""cms's entry to this plugin."""
