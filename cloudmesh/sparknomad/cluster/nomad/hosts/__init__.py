"""A Nomad cluster over hosts that are reached by SSH."""
