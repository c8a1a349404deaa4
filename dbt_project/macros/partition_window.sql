{#- The local days that a build is for. Every partitioned model ends with
    `where {{ in_window('<partition column>') }}` and so returns the rows of those days and no others.

    Nothing else may depend on the window: a day built alone has the rows that it has in a build of
    the year, or its data version would change with the way it was launched. -#}

{#- The vars `first_day` and `last_day` (inclusive, YYYY-MM-DD) and the number of `days` between
    them. Parsing needs no window and gets a placeholder; a build without one is refused. -#}
{% macro partition_window() -%}
    {%- if not execute -%}
        {{ return({'first_day': '1970-01-01', 'last_day': '1970-01-01', 'days': 1}) }}
    {%- endif -%}
    {%- set bounds = {} -%}
    {%- for name in ['first_day', 'last_day'] -%}
        {%- set value = var(name, none) | string -%}
        {%- if not modules.re.fullmatch('[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])', value) -%}
            {{ exceptions.raise_compiler_error(
                "The dbt var '" ~ name ~ "' must be a local day like 2013-06-14, not '" ~ value
                ~ "'. Give the window: --vars '{first_day: 2013-06-14, last_day: 2013-06-14}'."
            ) }}
        {%- endif -%}
        {%- do bounds.update({name: modules.datetime.datetime.strptime(value, '%Y-%m-%d')}) -%}
    {%- endfor -%}
    {%- if bounds['last_day'] < bounds['first_day'] -%}
        {{ exceptions.raise_compiler_error(
            "The dbt var 'last_day' (" ~ var('last_day') ~ ") lies before 'first_day' ("
            ~ var('first_day') ~ "). Swap them."
        ) }}
    {%- endif -%}
    {{ return({
        'first_day': var('first_day') | string,
        'last_day': var('last_day') | string,
        'days': (bounds['last_day'] - bounds['first_day']).days + 1,
    }) }}
{%- endmacro %}

{#- True for a row whose DATE `column` lies in the partition window. -#}
{% macro in_window(column) -%}
    {%- set window = partition_window() -%}
    {{ column }} between date '{{ window.first_day }}' and date '{{ window.last_day }}'
{%- endmacro %}

{#- True for an upstream row that a model may read: its DATE `column` lies in the window, or in the
    `look_back_days` before it that the model's `feature_view` block declares. The orchestrator pins
    exactly these days, so a number written a second time here could only disagree with it. -#}
{% macro in_look_back(column) -%}
    {%- set window = partition_window() -%}
    {%- set days = model.config.meta.feature_view.look_back_days if execute else 0 -%}
    {{ column }} between {{ add_days("date '" ~ window.first_day ~ "'", -days) }}
        and date '{{ window.last_day }}'
{%- endmacro %}

{#- The UTC instant at which the partition window begins: midnight of its first local day. -#}
{% macro window_start() -%}
    {{ start_of_day("date '" ~ partition_window().first_day ~ "'") }}
{%- endmacro %}

{#- The UTC instant at which the partition window ends: midnight after its last local day. -#}
{% macro window_end() -%}
    {{ start_of_day(add_days("date '" ~ partition_window().last_day ~ "'", 1)) }}
{%- endmacro %}

{#- A relation of the window's hours: `hour_at`, a whole hour (UTC), and `feature_day`, its local day. -#}
{% macro window_hours() -%}
    (
        select {{ local_day('hour_at') }} as feature_day, hour_at
        from (
            select {{ add_minutes(window_start(), 'n * 60') }} as hour_at
            -- The day on which clocks go back has 25 hours.
            from {{ number_series(partition_window().days * 24 + 1) }} as series
        ) as candidates
        where {{ in_window(local_day('hour_at')) }}
    )
{%- endmacro %}

{#- Every local day of the partition window as text, in order. -#}
{% macro window_days() -%}
    {%- set window = partition_window() -%}
    {%- set first = modules.datetime.datetime.strptime(window.first_day, '%Y-%m-%d') -%}
    {%- set days = [] -%}
    {%- for n in range(window.days) -%}
        {%- do days.append((first + modules.datetime.timedelta(days=n)).strftime('%Y-%m-%d')) -%}
    {%- endfor -%}
    {{ return(days) }}
{%- endmacro %}
