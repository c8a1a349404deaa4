"""What exists here: thin declarations, in the order in which the data flows.

Belongs here: which sources, tables, problems, schedules and resources there are. Does not
belong here: how any of them works.
"""
