{#
  A table whose days readers never see before they have passed a gate. dbt only builds start_date..end_date into a
  candidate table of their own; the `warehouse` command judges the candidate and publishes it. The columns are those
  of the model's contract: a model that makes others, or other types, does not build.
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
    {%- if config.get('meta', {}).get('merge_key') -%}
        {# A merge by key needs to be told which rows of the published table no longer exist. #}
        {% do model['columns'].update({'_deleted': {'name': '_deleted', 'data_type': 'bool', 'constraints': []}}) %}
    {%- endif -%}

    {{ run_hooks(pre_hooks) }}
    {% do adapter.create_schema(candidate) %}
    {% call statement('main') -%}
        create or replace table {{ candidate }}
        {{ get_assert_columns_equivalent(compiled_code) }}
        {{ get_table_columns_and_constraints() }}
        {{ partition_by(adapter.parse_partition_by(config.get('partition_by'))) }}
        {{ cluster_by(config.get('cluster_by')) }}
        options (expiration_timestamp = timestamp_add(current_timestamp(), interval 7 day))
        as {{ get_select_subquery(compiled_code) }}
    {%- endcall %}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [candidate]}) }}
{% endmaterialization %}
