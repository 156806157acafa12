"""The verbs of `Sparknomad`, by what they are about."""
