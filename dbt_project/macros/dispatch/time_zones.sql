{#- Engines disagree on how a naive timestamp changes its zone. The Spark session runs in UTC. -#}

{#- The wall time in `zone` of a naive UTC timestamp. -#}
{% macro utc_to_local(instant, zone) -%}
    {{ adapter.dispatch('utc_to_local', 'mlops_assets')(instant, zone) }}
{%- endmacro %}

{% macro duckdb__utc_to_local(instant, zone) -%}
    timezone({{ zone }}, timezone('UTC', {{ instant }}))
{%- endmacro %}

{% macro spark__utc_to_local(instant, zone) -%}
    from_utc_timestamp({{ instant }}, {{ zone }})
{%- endmacro %}

{#- The naive UTC timestamp of a wall time in `zone`. -#}
{% macro local_to_utc(wall_time, zone) -%}
    {{ adapter.dispatch('local_to_utc', 'mlops_assets')(wall_time, zone) }}
{%- endmacro %}

{% macro duckdb__local_to_utc(wall_time, zone) -%}
    timezone('UTC', timezone({{ zone }}, {{ wall_time }}))
{%- endmacro %}

{% macro spark__local_to_utc(wall_time, zone) -%}
    to_utc_timestamp({{ wall_time }}, {{ zone }})
{%- endmacro %}
