"""The sensor of the raw tables' source: what arrives there starts its partition."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import dagster as dg

from mlops_assets.components.backoff import RED_AFTER, Backoff
from mlops_assets.components.raw_table import SCHEMA
from mlops_assets.defs.automation.run_tags import started_by
from mlops_assets.defs.raw import sources
from mlops_assets.settings import settings
from mlops_assets.sources.errors import SourceError
from mlops_assets.sources.source import Arrival, News

NAME = "arrivals"

RUNS_A_TICK = 50
"""A year that is put down at once is as many runs as it has days: a tick's worth queues at once."""

NAMED, LOGGED = 5, 50


@dataclass(frozen=True)
class Watch:
    """What the sensor remembers from one tick to the next.

    Attributes:
        source: Which source the rest is about.
        cursor: How far it has been read.
        backoff: How long it has not answered.
        told: The unusable things that were logged.
    """

    source: str
    cursor: str = ""
    backoff: Backoff = field(default_factory=Backoff)
    told: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: str, text: str | None) -> Watch:
        """Read what `text` wrote of a source; nothing before its first tick."""
        found = json.loads(text) if text else {}
        if found.get("source") != source:
            return cls(source)
        backoff = Backoff.from_json(found["backoff"])
        return cls(source, found["cursor"], backoff, tuple(found["told"]))

    @property
    def text(self) -> str:
        """It as the sensor's cursor."""
        return json.dumps(
            {
                "source": self.source,
                "cursor": self.cursor,
                "backoff": self.backoff.to_json(),
                "told": self.told,
            }
        )

    def answered(self, news: News) -> Watch:
        """After a look."""
        return Watch(self.source, news.cursor, told=tuple(sorted(news.unusable)[:LOGGED]))

    def trouble(self) -> str:
        """That the source does not answer, since when and when it is asked next."""
        return f"{self.backoff.sentence('Looking at the source')} What arrives is taken then."


@dg.sensor(
    name=NAME,
    target=dg.AssetSelection.groups(SCHEMA),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Materializes what arrives at the source of the raw tables: a file in the landing area, a "
        "month on the server, changed rows of the database. A run for each partition, so that a "
        "broken file stops its own day only. A file that belongs to no partition is named, and a "
        "source that does not answer is asked again after 1, 2, 4 … 60 minutes."
    ),
)
def arrivals(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Request a run for each partition that something arrived for."""
    watch, now = Watch.of(sources.identity(settings()), context.cursor), time.time()
    if not watch.backoff.due(now):
        # A tick that raises keeps no cursor, so that no try may happen in it.
        if watch.backoff.failures >= RED_AFTER:
            raise SourceError(watch.trouble())
        return dg.SensorResult(skip_reason=watch.trouble())
    try:
        news = sources.source().arrivals(watch.cursor, limit=RUNS_A_TICK)
    except SourceError as error:
        down = replace(watch, backoff=watch.backoff.failed(now, str(error)))
        context.log.warning(down.trouble())
        return dg.SensorResult(skip_reason=down.trouble(), cursor=down.text)
    for name in sorted(news.unusable)[:LOGGED]:
        if name not in watch.told:
            context.log.warning(news.unusable[name])
    return dg.SensorResult(
        run_requests=list(_requests(news)),
        skip_reason=None if news.arrivals else _nothing_new(news),
        cursor=watch.answered(news).text,
    )


def _requests(news: News) -> Iterator[dg.RunRequest]:
    for arrival in news.arrivals:
        yield dg.RunRequest(
            run_key=_run_key(arrival),
            asset_selection=[dg.AssetKey([SCHEMA, arrival.table])],
            partition_key=arrival.day.isoformat() if arrival.day else None,
            tags=started_by(NAME),
        )


def _run_key(arrival: Arrival) -> str:
    """What Dagster tells a repeated request by, so that a killed tick requests nothing twice."""
    return f"{arrival.table}|{arrival.day or ''}|{arrival.fingerprint}"


def _nothing_new(news: News) -> str:
    if not news.unusable:
        return "Nothing has arrived."
    reasons = list(news.unusable.values())
    more = f" And {len(reasons) - NAMED} more." if len(reasons) > NAMED else ""
    return f"Nothing usable has arrived. {' '.join(reasons[:NAMED])}{more}"
