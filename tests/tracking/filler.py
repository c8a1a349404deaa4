"""A process that fills in what a registry lacks: `filler.py FOLDER LAKE`, the lake in JSON."""

import json
import sys
from pathlib import Path

from mlops_assets.lake import Credentials, Lake
from mlops_assets.tracking.connection import Registry
from mlops_assets.tracking.projection import Tracking

if __name__ == "__main__":
    folder, where = Path(sys.argv[1]), json.loads(sys.argv[2])
    lake = Lake(
        Credentials(*where["endpoint"]),
        repository=where["repository"],
        base_branch="main",
        scratch=folder / "scratch",
    )
    print("ready", flush=True)
    sys.stdin.readline()
    Tracking(Registry(None, folder)).fill_in(lake)
