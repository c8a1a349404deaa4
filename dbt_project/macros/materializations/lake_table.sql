{#- A partitioned table of the lake: one sorted Parquet file for each day of the window, also for a
    day without rows, under `<lake_root>/<schema>/<model>/day=<day>/`.

    Those files are what is committed, so the model becomes a view of them and its tests read them.
    Each day is a copy of its own: a partitioned copy on two threads wrote other bytes every time.
    The rows are sorted once, by day and key, and a copy keeps the order of the table that it reads
    (preserve_insertion_order, which must stay on). -#}
{% macro lake_files(model, days) -%}
    {%- set folder = var('lake_root') ~ '/' ~ model.schema ~ '/' ~ model.identifier -%}
    {%- set files = [] -%}
    {%- for day in days -%}
        {%- do files.append(folder ~ '/day=' ~ day ~ '/part-0.parquet') -%}
    {%- endfor -%}
    {{ return(files) }}
{%- endmacro %}

{#- A path as a SQL string: to write to, or to read, where DuckDB would take `*`, `?` and `[` for a
    pattern and read the neighbours' files too. -#}
{% macro path_to_write(path) -%}
    '{{ path | replace("'", "''") }}'
{%- endmacro %}

{% macro path_to_read(path) -%}
    {{ path_to_write(modules.re.sub('[*?[]', '[\\g<0>]', path)) }}
{%- endmacro %}

{% materialization lake_table, adapter='duckdb' %}
    {%- set view = this.incorporate(type='view') -%}
    {%- set day_column = config.require('partition_by') -%}
    {%- set order = config.require('unique_key') | join(', ') -%}
    {%- set days = window_days() -%}
    {%- set files = lake_files(view, days) -%}
    {{ run_hooks(pre_hooks) }}
    {% call statement('main') -%}
        create temporary table rows_of_{{ view.identifier }} as
        select * from ({{ compiled_code }}) as model order by {{ day_column }}, {{ order }};
        {% for day in days -%}
        copy (
            select * from rows_of_{{ view.identifier }} where {{ day_column }} = date '{{ day }}'
        ) to {{ path_to_write(files[loop.index0]) }} (format parquet, compression zstd);
        {% endfor -%}
        drop table rows_of_{{ view.identifier }};
        create or replace view {{ view }} as
        from read_parquet([
            {%- for file in files %}{{ path_to_read(file) }}{{ ', ' if not loop.last }}{% endfor -%}
        ], hive_partitioning = false);
    {%- endcall %}
    {{ run_hooks(post_hooks) }}
    {{ adapter.commit() }}
    {{ return({'relations': [view]}) }}
{% endmaterialization %}
