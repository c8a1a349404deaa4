"""Engines: stateless compute over pinned tables.

Belongs here: how an engine sees pinned partitions as views, and how what it wrote is described
as a partition. Does not belong here: what is computed, and where it is published.
"""
