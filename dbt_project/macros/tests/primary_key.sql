{#- Returns each key of `columns` that is incomplete or that more than one row carries. -#}
{% test primary_key(model, columns) %}
    select {{ columns | join(', ') }}, count(*) as row_count
    from {{ model }}
    group by {{ columns | join(', ') }}
    having count(*) > 1
    {%- for column in columns %} or {{ column }} is null {%- endfor %}
{% endtest %}
