{#- Instants are naive UTC timestamps; a partition is a local day of the origin airports. One zone
    serves all three, because partitions of a day can have only one midnight. -#}

{% macro home_time_zone() -%}
    'America/New_York'
{%- endmacro %}

{#- The local DATE on which a UTC instant falls. -#}
{% macro local_day(instant) -%}
    cast({{ utc_to_local(instant, home_time_zone()) }} as date)
{%- endmacro %}

{#- The UTC instant of local midnight at the start of a DATE. -#}
{% macro start_of_day(day) -%}
    {{ local_to_utc('cast(' ~ day ~ ' as timestamp)', home_time_zone()) }}
{%- endmacro %}

{#- Minutes after midnight of a clock reading written as the integer HHMM (2400 is midnight). -#}
{% macro minute_of_day(hhmm) -%}
    (cast(floor({{ hhmm }} / 100) as integer) * 60 + mod({{ hhmm }}, 100))
{%- endmacro %}

{#- Minutes after midnight that a clock shows at a local timestamp. -#}
{% macro clock_minute(wall_time) -%}
    cast(extract(hour from {{ wall_time }}) * 60 + extract(minute from {{ wall_time }}) as integer)
{%- endmacro %}

{#- The UTC instant at which a clock in `zone` first shows `hhmm` at or after the UTC instant
    `since`. The reading carries no date, so it must lie within a day of `since`.

    The way back to UTC is a detour around an ambiguity: when clocks go back, one hour of wall time
    happens twice, and DuckDB takes the second where Spark takes the first. So the minutes that the
    wall clock advanced are added to `since`, and the result is moved by what the clock was changed
    on the way, if it was. -#}
{% macro instant_of_clock(hhmm, since, zone) -%}
    {%- set wall_since = utc_to_local(since, zone) -%}
    {%- set advance = "mod(" ~ minute_of_day(hhmm) ~ " - " ~ clock_minute(wall_since) ~ " + 1440, 1440)" -%}
    {%- set unchanged = add_minutes(since, advance) -%}
    {{ add_minutes(
        unchanged,
        minutes_between(utc_to_local(unchanged, zone), add_minutes(wall_since, advance))
    ) }}
{%- endmacro %}

{#- The first whole hour (UTC) that is not before an instant in whole minutes. -#}
{% macro next_whole_hour(instant) -%}
    date_trunc('hour', {{ add_minutes(instant, 59) }})
{%- endmacro %}

{#- The first instant on a grid of `step` minutes (a divisor of 60) that is not before an instant in
    whole minutes. -#}
{% macro next_step(instant, step) -%}
    {%- set past = "mod(cast(extract(minute from " ~ instant ~ ") as integer), " ~ step ~ ")" -%}
    {{ add_minutes(instant, "mod(" ~ step ~ " - " ~ past ~ ", " ~ step ~ ")") }}
{%- endmacro %}
