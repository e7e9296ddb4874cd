{# dbt always writes RETURNS; a function of ANY TYPE must have none. #}
{% macro bigquery__scalar_function_create_replace_signature_sql(target_relation) %}
    create or replace function {{ target_relation.render() }} ({{ formatted_scalar_function_args_sql() }})
    {% if model.returns.data_type != 'ANY TYPE' %}returns {{ model.returns.data_type }}{% endif %}
    options (description = {{ model.description | trim | tojson }})
    as
{% endmacro %}

{# A bit pattern that is none is named in the error, not shifted into something plausible. `otherwise` where it is one. #}
{% macro checked_bits(name, otherwise) -%}
    if(
        bits not between 0 and {{ mask_28_bits() }},
        error(format('{{ name }}: %d is not a pattern of 28 bits', bits)),
        {{ otherwise }}
    )
{%- endmacro %}

{# Likewise a range of days: start_offset 0 is bit 0 and -27 is bit 27, from where n_bits are read to the right. #}
{% macro checked_range(name, otherwise) -%}
    if(
        start_offset not between -27 and 0 or n_bits not between 1 and 1 - start_offset,
        error(format('{{ name }}: reading %d bits from offset %d leaves the 28 bits of the pattern', n_bits, start_offset)),
        {{ checked_bits(name, otherwise) }}
    )
{%- endmacro %}
