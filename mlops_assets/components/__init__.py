"""Templates that the definitions instantiate: a dbt warehouse, a machine-learning problem.

Belongs here: how a kind of step becomes Dagster assets, and how any step's results become
materializations. Does not belong here: which tables or problems exist; `defs` says that.
"""
