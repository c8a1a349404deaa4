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

{#- The UTC instant at which a clock in `zone` first shows `hhmm` after the UTC instant `since`.
    The reading carries no date, so nothing may lie a whole day after `since`. It goes back to UTC
    through the zone, not by adding minutes: a clock that was changed in flight moves the wall time
    and not the landing. -#}
{% macro instant_of_clock(hhmm, since, zone) -%}
    {%- set local_since = utc_to_local(since, zone) -%}
    {%- set minutes_since_midnight = "(extract(hour from " ~ local_since ~ ") * 60 + extract(minute from "
        ~ local_since ~ "))" -%}
    {{ local_to_utc(
        add_minutes(
            local_since,
            "mod(" ~ minute_of_day(hhmm) ~ " - " ~ minutes_since_midnight ~ " + 1440, 1440)"
        ),
        zone
    ) }}
{%- endmacro %}

{#- The first whole hour (UTC) that is not before an instant in whole minutes. -#}
{% macro next_whole_hour(instant) -%}
    date_trunc('hour', {{ add_minutes(instant, 59) }})
{%- endmacro %}
