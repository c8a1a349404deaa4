{#- What can be seen at an airport right now, every `step` minutes and for each entity of `entities`
    (columns of fct_flights): the departures of the last `hours`, and the flights that should have
    left and have not. The value columns are named `<prefix>_…`.

    A departure is known when it happens, hours before its arrival. A flight is overdue from its
    scheduled departure until it leaves, for six hours at most; a cancelled one never is, as its
    cancellation counts as known at its scheduled departure.

    Each flight is spread over the moments at which it is seen, and over one moment more without
    weight: so a quiet entity has a row that says so, and then none until something happens.

    A departure more than 24 hours after schedule is never seen (the slowest of 2013 took 22), and one
    before its own local day is seen from that day's midnight on. This bounds what a day can depend on:
    two days of look-back, and no flight of the day after. -#}
{% macro congestion(prefix, entities, step, hours) -%}
    {%- set keys = entities | join(', ') -%}
    {%- set longest = hours[-1] * 60 // step -%}
    {%- set values = ['overdue', 'overdue_minutes'] -%}
    {%- for count in hours -%}
        {%- do values.extend(
            ['departures_' ~ count ~ 'h', 'late_' ~ count ~ 'h', 'delay_minutes_' ~ count ~ 'h']
        ) -%}
    {%- endfor -%}
with flights as (
    select
        {{ keys }},
        scheduled_departure_at,
        departed_at,
        departure_delay_minutes,
        {{ next_step('greatest(departed_at, ' ~ start_of_day('flight_date') ~ ')', step) }}
            as first_seen_at,
        {{ next_step('scheduled_departure_at', step) }} as first_overdue_at,
        least(departed_at, {{ add_minutes('scheduled_departure_at', 360) }}) as overdue_until
    from {{ ref('fct_flights') }}
    where {{ in_look_back('flight_date') }} and departed_at is not null
),

sightings as (
    select
        {{ keys }},
        {{ add_minutes('first_seen_at', 'n * ' ~ step) }} as feature_at,
        0 as overdue,
        0 as overdue_minutes
        {%- for count in hours %}
        {%- set seen = 'case when n < ' ~ (count * 60 // step) ~ ' then ' %},
        {{ seen }} 1 else 0 end as departures_{{ count }}h,
        {{ seen }} case when departure_delay_minutes > 15 then 1 else 0 end else 0 end
            as late_{{ count }}h,
        {{ seen }} departure_delay_minutes else 0 end as delay_minutes_{{ count }}h
        {%- endfor %}
    from flights
    cross join {{ number_series(longest + 1) }} as series
    where {{ minutes_between('scheduled_departure_at', 'departed_at') }} <= 24 * 60
    union all
    select
        {{ keys }},
        feature_at,
        case when feature_at < overdue_until then 1 else 0 end as overdue,
        case when feature_at < overdue_until
            then {{ minutes_between('scheduled_departure_at', 'feature_at') }} else 0
        end as overdue_minutes
        {%- for value in values[2:] %},
        0 as {{ value }}
        {%- endfor %}
    from (
        select *, {{ add_minutes('first_overdue_at', 'n * ' ~ step) }} as feature_at
        from flights
        cross join {{ number_series(360 // step + 1) }} as series
    ) as spread
    where first_overdue_at < overdue_until
        and feature_at < {{ add_minutes('overdue_until', step) }}
),

totals as (
    select
        {{ keys }},
        feature_at
        {%- for value in values %},
        cast(sum({{ value }}) as integer) as {{ value }}
        {%- endfor %}
    from sightings
    group by {{ range(1, entities | length + 2) | join(', ') }}
)

select
    hours.feature_day,
    feature_at,
    {{ keys }}
    {%- for count in hours %},
    departures_{{ count }}h as {{ prefix }}_departures_{{ count }}h,
    late_{{ count }}h / nullif(departures_{{ count }}h, 0)
        as {{ prefix }}_late_departure_rate_{{ count }}h,
    delay_minutes_{{ count }}h / nullif(departures_{{ count }}h, 0)
        as {{ prefix }}_mean_departure_delay_minutes_{{ count }}h
    {%- endfor %},
    overdue as {{ prefix }}_overdue_flights,
    overdue_minutes / nullif(overdue, 0) as {{ prefix }}_mean_overdue_minutes
from totals
inner join {{ window_hours() }} as hours on hours.hour_at = date_trunc('hour', feature_at)
{%- endmacro %}
