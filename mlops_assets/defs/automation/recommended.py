"""Which schedules and sensors `mlops-assets automation on` switches on."""

RECOMMENDED = (
    "arrivals",
    "digests",
    "flow_of_data",
    "flow_of_models",
    "flow_of_tables",
    "monitor_alarms",
    "reconcile_record",
    "retrain_on_alarm",
    "run_failures",
    "tags",
    "weekly_report_digest",
)
"""Their names. What deletes is left to whoever names it."""
