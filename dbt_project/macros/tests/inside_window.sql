{#- Returns the rows whose DATE `column_name` lies outside the partition window or is missing: they
    would be committed under the wrong day. -#}
{% test inside_window(model, column_name) %}
    select * from {{ model }}
    where {{ column_name }} is null or not ({{ in_window(column_name) }})
{% endtest %}
