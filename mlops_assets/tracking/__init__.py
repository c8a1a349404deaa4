"""MLflow as a projection of the lake: models, reports and champions where people look for them.

Belongs here: what a problem's results are called in the lake, and how MLflow's runs, registered
models and aliases are written from them, after the merge and again whenever some are missing. The
lake decides and MLflow follows: nothing here is read back to decide anything, and what MLflow loses
can be filled in from the lake.

Does not belong here: Dagster, how results are made, or where MLflow is; the address is given.
"""
