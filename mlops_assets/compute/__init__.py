"""How runs are carried out and recorded: what a Dagster instance is configured with.

Belongs here: classes that `dagster.yaml` names. Does not belong here: what a run computes.
"""
