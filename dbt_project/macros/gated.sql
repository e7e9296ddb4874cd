{#
  A table whose days readers never see before they have passed a gate. dbt only builds start_date..end_date into a
  candidate table of their own; the `warehouse` command judges the candidate and publishes it.
#}
{% materialization gated, adapter='bigquery' %}
    {%- if not var('candidate') -%}
        {% do exceptions.raise_compiler_error(
            this.identifier ~ ' is built, gated and published in one go, so dbt alone does not run it; use'
            ~ ' `./warehouse night DATE` or `./warehouse backfill START END --select ' ~ this.identifier ~ '`'
        ) %}
    {%- endif -%}
    {%- set candidate = api.Relation.create(
        database=this.database, schema=this.schema ~ '_candidates', identifier=var('candidate'), type='table'
    ) -%}

    {{ run_hooks(pre_hooks) }}
    {% do adapter.create_schema(candidate) %}
    {% call statement('main') -%}
        create or replace table {{ candidate }}
        {{ partition_by(adapter.parse_partition_by(config.get('partition_by'))) }}
        {{ cluster_by(config.get('cluster_by')) }}
        options (expiration_timestamp = timestamp_add(current_timestamp(), interval 7 day))
        as select * from (
            {{ compiled_code }}
        )
    {%- endcall %}
    {% do assert_contract(candidate) %}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [candidate]}) }}
{% endmaterialization %}

{#
  Raises dbt's contract error, which lists the differences, unless a candidate has exactly the columns of the model's
  YAML. Looking at the candidate takes no query; dbt's own check takes two, and compiles the model twice more.
#}
{% macro assert_contract(candidate) -%}
    {%- set wanted = model.columns.values() | list -%}
    {%- if config.get('meta').get('merge_key') -%}
        {# A merge by key is also told which rows of the published table no longer exist. #}
        {%- do wanted.append({'name': '_deleted', 'data_type': 'bool'}) -%}
    {%- endif -%}
    {%- set contract, built = [], [] -%}
    {%- for column in wanted %}{% do contract.append(contract_column(column.name, column.data_type)) %}{% endfor -%}
    {%- for column in adapter.get_columns_in_relation(candidate) %}
        {%- do built.append(contract_column(column.name, column.data_type)) -%}
    {%- endfor -%}
    {%- if contract | map(attribute='formatted') | sort != built | map(attribute='formatted') | sort -%}
        {%- do exceptions.raise_contract_error(contract, built) -%}
    {%- endif -%}
{%- endmacro %}

{# A column as dbt's contract error wants it, its type in one spelling: the API says BOOLEAN where SQL says BOOL. #}
{% macro contract_column(name, data_type) -%}
    {%- set type = modules.re.sub('[`\\s]+', ' ', data_type | upper) | replace('< ', '<') -%}
    {%- set type = modules.re.sub('\\bBOOLEAN\\b', 'BOOL', type) -%}
    {%- set type = modules.re.sub('\\bINTEGER\\b', 'INT64', type) -%}
    {%- set type = modules.re.sub('\\bFLOAT\\b', 'FLOAT64', type) -%}
    {{ return({'name': name, 'data_type': type, 'formatted': name ~ ' ' ~ type}) }}
{%- endmacro %}
