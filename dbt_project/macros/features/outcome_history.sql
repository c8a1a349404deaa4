{#- The outcomes of the last seven days for each hour and each entity of `entities` (columns of
    fct_flights); the value columns are named `<prefix>_…_7d`.

    An outcome counts at hour h when h - 7 days < outcome_known_at <= h. Knowledge is rounded up to
    the hour at which it first counts, which changes no sum, as every h is a whole hour; an outcome
    then adds to its entity at that hour and is taken away 168 hours later, and a running sum gives
    every hour. (Joining each hour to its seven days of outcomes reads 55 million pairs a year.)
    Sums are of integers, divided once: sums of doubles differ from run to run.

    An entity has rows from its first outcome until a day after its last one left the seven days.
    During that day its counts are zero, so that an as-of join which takes the newest row finds
    "nothing lately" and not the last busy week of a route that is no longer flown.

    An outcome known more than 36 hours after schedule never counts (the slowest of 2013 took 33).
    This bounds what an hour can depend on: 8 days and 36 hours, inside the 10 days of look-back. -#}
{% macro outcome_history(prefix, entities) -%}
    {%- set keys = entities | join(', ') -%}
with outcomes as (
    select
        {{ keys }},
        {{ next_whole_hour('outcome_known_at') }} as first_hour,
        cast(is_late as integer) as late,
        cast(is_cancelled as integer) as cancelled,
        arrival_delay_minutes as delay_minutes
    from {{ ref('fct_flights') }}
    where {{ in_look_back('flight_date') }}
        and outcome_known_at is not null
        and {{ minutes_between('scheduled_departure_at', 'outcome_known_at') }} <= 36 * 60
),

changes as (
    select
        {{ keys }},
        greatest({{ add_minutes('first_hour', 'step.minutes') }}, {{ window_start() }}) as feature_at,
        sum(step.remembered) as remembered,
        sum(step.counted) as flights,
        sum(step.counted * coalesce(late, 0)) as late,
        sum(step.counted * cancelled) as cancelled,
        sum(step.counted * coalesce(delay_minutes, 0)) as delay_minutes
    from outcomes
    cross join (values (0, 1, 1), (7 * 1440, 0, -1), (8 * 1440, -1, 0))
        as step (minutes, remembered, counted)
    group by 1, 2, 3
),

hours as (
    select feature_at
    from (
        select {{ add_minutes(window_start(), 'n * 60') }} as feature_at
        -- The day on which clocks go back has 25 hours.
        from {{ number_series(partition_window().days * 24 + 1) }} as series
    ) as candidates
    where {{ in_window(local_day('feature_at')) }}
),

grid as (
    select {{ keys }}, feature_at
    from (select distinct {{ keys }} from changes) as entities
    cross join hours
),

totals as (
    select
        {{ keys }},
        feature_at,
        {% for total in ['remembered', 'flights', 'late', 'cancelled', 'delay_minutes'] -%}
        cast(sum(coalesce(changes.{{ total }}, 0)) over running as integer) as {{ total }}
        {{- ',' if not loop.last }}
        {% endfor -%}
    from grid
    left join changes using ({{ keys }}, feature_at)
    window running as (
        partition by {{ keys }} order by feature_at
        rows between unbounded preceding and current row
    )
)

select
    {{ local_day('feature_at') }} as feature_day,
    feature_at,
    {{ keys }},
    flights as {{ prefix }}_flights_7d,
    late as {{ prefix }}_late_7d,
    cancelled as {{ prefix }}_cancelled_7d,
    delay_minutes as {{ prefix }}_delay_minutes_7d,
    late / nullif(flights - cancelled, 0) as {{ prefix }}_late_rate_7d,
    cancelled / nullif(flights, 0) as {{ prefix }}_cancelled_rate_7d,
    delay_minutes / nullif(flights - cancelled, 0) as {{ prefix }}_mean_delay_minutes_7d
from totals
where remembered > 0
{%- endmacro %}
