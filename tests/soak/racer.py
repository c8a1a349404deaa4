"""A process that materializes one day of flights each time it is told to: run by `test_races`.

Reads a line for each round from standard input and answers with one line of JSON.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from installation import Installation, installed

DAY = "2013-01-01"


def main() -> None:
    from mlops_assets.definitions import defs

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with installed(Path(os.environ["MLOPS_HOME"]), defs()) as installation:
        print("ready", file=answers)
        for _ in sys.stdin:
            print(json.dumps(one_round(installation)), file=answers)


def one_round(installation: Installation) -> dict[str, Any]:
    result = installation.materialize(["raw/flights"], DAY)
    answer: dict[str, Any] = {"run": result.run_id, "error": None, "version": None}
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            assert error is not None
            answer["error"] = (error.cause or error).message
        elif event.is_step_materialization:
            data = event.step_materialization_data
            assert isinstance(data.materialization, dg.AssetMaterialization)
            answer["version"] = (data.materialization.tags or {})["dagster/data_version"]
    return answer


if __name__ == "__main__":
    main()
