{#- Sums and differences of dates and timestamps, in whole units. -#}

{#- A timestamp moved by a whole number of minutes. -#}
{% macro add_minutes(instant, minutes) -%}
    {{ adapter.dispatch('add_minutes', 'mlops_assets')(instant, minutes) }}
{%- endmacro %}

{% macro duckdb__add_minutes(instant, minutes) -%}
    ({{ instant }} + to_minutes({{ minutes }}))
{%- endmacro %}

{% macro spark__add_minutes(instant, minutes) -%}
    timestampadd(minute, {{ minutes }}, {{ instant }})
{%- endmacro %}

{#- Whole minutes from one timestamp to a later one. -#}
{% macro minutes_between(earlier, later) -%}
    {{ adapter.dispatch('minutes_between', 'mlops_assets')(earlier, later) }}
{%- endmacro %}

{% macro duckdb__minutes_between(earlier, later) -%}
    date_sub('minute', {{ earlier }}, {{ later }})
{%- endmacro %}

{% macro spark__minutes_between(earlier, later) -%}
    timestampdiff(minute, {{ earlier }}, {{ later }})
{%- endmacro %}

{#- A DATE moved by a whole number of days. -#}
{% macro add_days(day, days) -%}
    {{ adapter.dispatch('add_days', 'mlops_assets')(day, days) }}
{%- endmacro %}

{% macro duckdb__add_days(day, days) -%}
    ({{ day }} + cast({{ days }} as integer))
{%- endmacro %}

{% macro spark__add_days(day, days) -%}
    date_add({{ day }}, cast({{ days }} as int))
{%- endmacro %}

{#- Days from one DATE to a later one. -#}
{% macro days_between(earlier, later) -%}
    {{ adapter.dispatch('days_between', 'mlops_assets')(earlier, later) }}
{%- endmacro %}

{% macro duckdb__days_between(earlier, later) -%}
    date_diff('day', {{ earlier }}, {{ later }})
{%- endmacro %}

{% macro spark__days_between(earlier, later) -%}
    datediff({{ later }}, {{ earlier }})
{%- endmacro %}

{#- The day of the week of a DATE: Monday is 1, Sunday is 7. -#}
{% macro iso_day_of_week(day) -%}
    {{ adapter.dispatch('iso_day_of_week', 'mlops_assets')(day) }}
{%- endmacro %}

{% macro duckdb__iso_day_of_week(day) -%}
    cast(extract(isodow from {{ day }}) as integer)
{%- endmacro %}

{% macro spark__iso_day_of_week(day) -%}
    (weekday({{ day }}) + 1)
{%- endmacro %}
