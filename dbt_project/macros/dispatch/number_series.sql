{#- A relation with the one column `n`: the integers from 0 to `count` - 1. -#}
{% macro number_series(count) -%}
    {{ adapter.dispatch('number_series', 'mlops_assets')(count) }}
{%- endmacro %}

{% macro duckdb__number_series(count) -%}
    (select range as n from range({{ count }}))
{%- endmacro %}

{% macro spark__number_series(count) -%}
    (select id as n from range({{ count }}))
{%- endmacro %}
