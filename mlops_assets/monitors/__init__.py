"""Monitors as pure functions: days of predictions and outcomes in, findings and reports out.

Here belong the statistics of a day against the days before it, the decision whether they are an
alarm, and what a report of them says. Not here: where the days come from and where reports go
(`components.problem_monitors`), and whom an alarm is told (`alerting`). It stands beside `ml` and
not in it, because a model's code version covers all of `ml`, and a monitor changed would make every
model stale.

A function of this package reads nothing later than its day, needs no state of its own from one day
to the next, and gives the same bytes for the same days in any process.
"""
