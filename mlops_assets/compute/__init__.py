"""How runs are carried out and recorded, and what their pods get.

Belongs here: profiles of pods, and classes that `dagster.yaml` names. Does not belong here: what a
run computes.
"""
