"""What people are told when something is wrong, and how it reaches them.

Belongs here: a message as a value, and the channels that carry one: a webhook, e-mail, an event of
PagerDuty's kind. Does not belong here: what is worth a message and when it is tried again, which
the sensors decide; nothing here knows the orchestrator.
"""
