"""The schedules: what comes by the clock. When tables follow their inputs is `conditions`' matter.

Every schedule works out from Dagster's record what is to be done up to its tick, never what is due
at the tick alone: a tick that was missed is made up for by the next.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from mlops_assets.components import weekly_digest
from mlops_assets.defs.automation.policies import RAW
from mlops_assets.defs.automation.run_tags import started_by
from mlops_assets.defs.raw.days import LOCAL_ZONE
from mlops_assets.settings import settings

DAILY_INGEST = "daily_ingest"
WEEKLY_DIGEST = "weekly_report_digest"

SPANS_A_TICK = 12
"""So many gaps a tick closes: a lake with a hole on every other day is no work for one morning."""

DIGEST_DAYS = 7
"""So many days a digest is about: from one Monday to the next."""

SCHEDULED_AT = ".dagster/scheduled_execution_time"
"""The tag in which Dagster names the tick of a run that a schedule started."""

Span = tuple[str, str]


def day_before(tick: datetime) -> date:
    """The local day that is over when a tick comes, whatever the clock was doing that night."""
    return tick.astimezone(ZoneInfo(LOCAL_ZONE)).date() - timedelta(days=1)


def gaps(days: Sequence[str], made: Collection[str]) -> list[Span]:
    """The spans of days, first and last, that are not made.

    Args:
        days: All that should be, in order.
        made: Those that are.
    """
    spans: list[Span] = []
    open_span = False
    for day in days:
        if day in made:
            open_span = False
        elif open_span:
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
            open_span = True
    return spans


def of_the_tick(spans: Sequence[Span], tick: datetime) -> list[Span]:
    """The gaps that a tick asks for: the newest, and of the others each in its turn.

    In the order of time, a dozen old days that cannot be read would keep every new one waiting.

    Args:
        spans: All gaps, in order.
        tick: When it comes.
    """
    older, newest = spans[:-1], spans[-1:]
    first = day_before(tick).toordinal() * (SPANS_A_TICK - 1)
    turn = [older[(first + place) % len(older)] for place in range(len(older))]
    chosen = {*newest, *turn[: SPANS_A_TICK - 1]}
    return [span for span in spans if span in chosen]


@dg.schedule(
    name=DAILY_INGEST,
    target=dg.AssetSelection.groups(RAW),
    cron_schedule="30 6 * * *",
    execution_timezone=LOCAL_ZONE,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description=(
        "Every day at 6:30, New York time: reads the days up to yesterday, and the tables without "
        "days, that should be there and are not. For sources that are asked and do not tell what "
        "arrives. A day that cannot be read is asked for again the next morning."
    ),
)
def daily_ingest(
    context: dg.ScheduleEvaluationContext,
) -> list[dg.RunRequest] | dg.SkipReason:
    """Request what is missing, a run for each span of days."""
    tick = context.scheduled_execution_time
    graph = context.repository_def.asset_graph
    yesterday = day_before(tick).isoformat()
    requests: list[dg.RunRequest] = []
    ends: dict[str, str] = {}
    for key in sorted(dg.AssetSelection.groups(RAW).resolve(graph)):
        days = graph.get(key).partitions_def
        if days is None:
            if context.instance.get_latest_materialization_event(key) is None:
                requests.append(_ingest(key, None, yesterday))
            continue
        known = days.get_partition_keys(current_time=tick)
        ends[key.to_user_string()] = known[-1] if known else "none"
        made = set(context.instance.get_materialized_partitions(key))
        spans = gaps([day for day in known if day <= yesterday], made)
        requests += [_ingest(key, span, yesterday) for span in of_the_tick(spans, tick)]
    return requests or dg.SkipReason(_nothing_missing(ends, yesterday))


def _ingest(key: dg.AssetKey, span: Span | None, until: str) -> dg.RunRequest:
    tags = started_by(DAILY_INGEST)
    if span is not None and span[0] != span[1]:
        tags |= dict(
            zip(
                ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"),
                span,
                strict=True,
            )
        )
    return dg.RunRequest(
        run_key=" ".join([*key.path, *(span or ()), f"of the tick after {until}"]),
        asset_selection=[key],
        partition_key=span[0] if span and span[0] == span[1] else None,
        tags=tags,
    )


def _nothing_missing(ends: dict[str, str], yesterday: str) -> str:
    outside = [f"{table} ends at {end}" for table, end in ends.items() if end < yesterday]
    told = f"Everything up to yesterday, {yesterday}, is there."
    if outside:
        told = (
            f"Yesterday, {yesterday}, lies outside the days that are declared: "
            f"{' and '.join(outside)}. All of those are there."
        )
    return told


@dg.op(description="What the last seven days brought: scores, decisions, alarms and failures.")
def write_digest(context: dg.OpExecutionContext) -> None:
    """Put the digest into the run's log and on its page, from where `digests` sends it.

    The run itself sends nothing: on a cluster its pod holds no secret of a channel, and no network
    policy lets it out to one.
    """
    # A run that waited, or is a missed Monday's, is about the week before its own tick.
    tick = context.run.tags.get(SCHEDULED_AT)
    until = datetime.fromisoformat(tick) if tick else datetime.now(UTC)
    digest = digest_until(context.instance, until)
    context.log.info(f"{digest.title}\n\n{digest.text}")
    context.add_output_metadata(digest.to_metadata())


def digest_until(instance: dg.DagsterInstance, until: datetime) -> weekly_digest.Digest:
    """The digest of the week before a moment: its title and its text.

    A week is from one clock time to the same a week later: of 168 hours, an hour of the night that
    clocks are set back would be in no digest, and one in two when they are set forward.

    Args:
        instance: Dagster's record.
        until: The moment.
    """
    local = until.astimezone(ZoneInfo(LOCAL_ZONE))
    return weekly_digest.digest(
        instance,
        local - timedelta(days=DIGEST_DAYS),
        local,
        home=str(settings().home),
        ui=settings().ui_url,
    )


@dg.job(description="Tells what the last seven days brought.", tags=started_by(WEEKLY_DIGEST))
def report_digest() -> None:
    """The digest, by itself."""
    write_digest()


weekly_report_digest = dg.ScheduleDefinition(
    name=WEEKLY_DIGEST,
    job=report_digest,
    cron_schedule="0 8 * * 1",
    execution_timezone=LOCAL_ZONE,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description=(
        "Every Monday at 8:00, New York time: scores, champions' decisions, alarms and failed runs "
        "of the seven days before, on the page of its run. The sensor `digests` sends it to people."
    ),
)
