"""The embedded provider: Spark standalone as plain processes of this machine."""
