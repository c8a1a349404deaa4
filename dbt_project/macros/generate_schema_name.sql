{#- A model lives in the schema that its folder names. dbt's own rule would put the target's schema
    in front ("main_staging"), and the same model would have another key on every target. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ target.schema if custom_schema_name is none else custom_schema_name | trim }}
{%- endmacro %}
