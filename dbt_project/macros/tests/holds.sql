{#- Returns the rows for which `rule` is false. A rule that is null, because a column it compares is
    null, holds: what must be present is said by its own rule. -#}
{% test holds(model, rule) %}
    select * from {{ model }} where not ({{ rule }})
{% endtest %}
