{#- One table holding exactly the rows of the partition window, in the order of its unique key. -#}
{% materialization lake_table, adapter='duckdb' %}
    {%- set table = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- if existing is not none and not existing.is_table -%}
        {{ drop_relation_if_exists(existing) }}
    {%- endif -%}
    {{ run_hooks(pre_hooks) }}
    {% call statement('main') -%}
        create or replace table {{ table }} as
        select * from ({{ compiled_code }}) as model
        order by {{ config.require('unique_key') | join(', ') }}
    {%- endcall %}
    {{ run_hooks(post_hooks) }}
    {{ adapter.commit() }}
    {{ return({'relations': [table]}) }}
{% endmaterialization %}
