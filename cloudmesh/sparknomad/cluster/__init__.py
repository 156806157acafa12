"""Clusters: the `ClusterProvider` contract and its implementations."""
