"""The kinds of storage that come with sparknomad."""
