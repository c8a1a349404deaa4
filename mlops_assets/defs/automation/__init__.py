"""What runs together, and when: jobs now, schedules and sensors as they come.

Does not belong here: the jobs that a component makes with its own assets, which stand beside them.
"""
