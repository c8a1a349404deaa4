"""Which schedules and sensors `mlops-assets automation on` switches on."""

RECOMMENDED = (
    "arrivals",
    "monitor_alarms",
    "reconcile_record",
    "run_failures",
    "tags",
)
"""Their names. What deletes, or acts on the world outside, is left to whoever names it."""
