"""The `mlops-assets` command.

Belongs here: what a command asks of the packages below, how it shows its progress and its result,
and how a failure becomes one sentence and an exit code. Does not belong here: how data is made,
published or judged. Only `program` is imported when the command starts; what a command needs, it
imports when it runs, so that `--help` answers at once.
"""

from mlops_assets.cli.program import main

__all__ = ["main"]
