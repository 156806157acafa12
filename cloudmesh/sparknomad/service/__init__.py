"""The REST service: the manager's verbs over HTTP, by the contract in ``openapi.yaml``."""
