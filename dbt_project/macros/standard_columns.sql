{# What every row of a stable table says, as both common shapes name it, and what a ping type `said`: name → SQL. #}
{% macro standard_columns_and(said) -%}
    {%- set columns = {
        'submission_date': 'date(submission_timestamp)',
        'submission_timestamp': 'submission_timestamp',
        'document_id': 'document_id',
        'client_id': client_named('client_id'),
        'why_no_client': why_no_client('client_id'),
        'sample_id': 'sample_id',
        'app_name': 'normalized_app_name',
        'channel': 'normalized_channel',
        'os': 'normalized_os',
        'country': 'normalized_country_code',
    } -%}
    {%- do columns.update(said) -%}
    {{ return(columns) }}
{%- endmacro %}
