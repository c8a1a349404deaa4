"""Figures of the lake and of Dagster's record, as Prometheus reads them.

Belongs here: which figures there are, how they are read cheaply, and how they are given out: as
text, to a file, to a Pushgateway, over HTTP. Does not belong here: what a monitor measures, which
lies in the lake, and when a figure is an alarm, which `infra/monitoring` says.
"""
