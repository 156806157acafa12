"""The standalone Spark runtime: as directories of a host, and as an image."""
