{#- The outcomes of the last seven days for each hour and each entity of `entities` (columns of
    fct_flights); the value columns are named `<prefix>_…_7d`.

    An outcome counts at hour h when h - 7 days < outcome_known_at <= h. Knowledge is rounded up to
    the hour at which it first counts, which changes no sum, as every h is a whole hour. An outcome
    adds to its entity at that hour and is taken away 168 hours later; a running sum over these
    changes, repeated until the next change, gives every hour. (Joining each hour to its seven days
    of outcomes reads 55 million pairs a year; a running sum over every hour took 11 s for routes
    where this takes 1 s.) Sums are of integers, divided once: sums of doubles differ from run to run.

    An entity has rows from its first outcome until a day after its last one left the seven days.
    During that day its counts are zero, so that an as-of join which takes the newest row finds
    "nothing lately" and not the last busy week of a route that is no longer flown.

    An outcome known more than 36 hours after schedule never counts (the slowest of 2013 took 33).
    This bounds what an hour can depend on: 8 days and 36 hours, inside the 10 days of look-back. -#}
{% macro outcome_history(prefix, entities) -%}
    {%- set keys = entities | join(', ') -%}
    {%- set totals = ['remembered', 'flights', 'late', 'cancelled', 'delay_minutes'] -%}
    {%- set next_change = 'lead(feature_at) over (partition by ' ~ keys ~ ' order by feature_at)' -%}
with outcomes as (
    select
        {{ keys }},
        {{ next_whole_hour('outcome_known_at') }} as first_hour,
        1 as flights,
        case when is_late then 1 else 0 end as late,
        case when is_cancelled then 1 else 0 end as cancelled,
        coalesce(arrival_delay_minutes, 0) as delay_minutes
    from {{ ref('fct_flights') }}
    where {{ in_look_back('flight_date') }}
        and outcome_known_at is not null
        and {{ minutes_between('scheduled_departure_at', 'outcome_known_at') }} <= 36 * 60
),

-- The zone is asked once an hour here; asked for each of 1.6 million rows it took a third of the time.
hours as (
    select {{ local_day('feature_at') }} as feature_day, feature_at
    from (
        select {{ add_minutes(window_start(), 'n * 60') }} as feature_at
        -- The day on which clocks go back has 25 hours.
        from {{ number_series(partition_window().days * 24 + 1) }} as series
    ) as candidates
    where {{ in_window(local_day('feature_at')) }}
),

-- Before the window only the balance matters, so older changes are moved to its first hour.
changes as (
    select
        {{ keys }},
        greatest({{ add_minutes('first_hour', 'step.minutes') }}, {{ window_start() }}) as feature_at,
        cast(sum(step.remembered) as integer) as remembered
        {%- for total in totals[1:] %},
        cast(sum(step.counted * {{ total }}) as integer) as {{ total }}
        {%- endfor %}
    from outcomes
    cross join (values (0, 1, 1), (7 * 1440, 0, -1), (8 * 1440, -1, 0))
        as step (minutes, remembered, counted)
    group by {{ range(1, entities | length + 2) | join(', ') }}
),

totals as (
    select
        {{ keys }},
        feature_at,
        cast({{ minutes_between('feature_at', next_change) }} / 60 as integer) as hours
        {%- for total in totals %},
        cast(sum({{ total }}) over (
            partition by {{ keys }} order by feature_at
            rows between unbounded preceding and current row
        ) as integer) as {{ total }}
        {%- endfor %}
    from changes
)

select
    hours.feature_day,
    hours.feature_at,
    {{ keys }},
    flights as {{ prefix }}_flights_7d,
    late as {{ prefix }}_late_7d,
    cancelled as {{ prefix }}_cancelled_7d,
    delay_minutes as {{ prefix }}_delay_minutes_7d,
    late / nullif(flights - cancelled, 0) as {{ prefix }}_late_rate_7d,
    cancelled / nullif(flights, 0) as {{ prefix }}_cancelled_rate_7d,
    delay_minutes / nullif(flights - cancelled, 0) as {{ prefix }}_mean_delay_minutes_7d
from totals
-- What is remembered changes within 8 days, if only by being forgotten.
inner join {{ number_series(8 * 24) }} as series on series.n < totals.hours
inner join hours on hours.feature_at = {{ add_minutes('totals.feature_at', 'series.n * 60') }}
where totals.remembered > 0
{%- endmacro %}
