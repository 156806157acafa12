"""Pipelines: jobs in order."""
