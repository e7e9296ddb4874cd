{# A client's day count since 1970-01-01 as a date; NULL for a number that is no date (years 1 to 9999). #}
{% macro believable_date(days_since_1970) -%}
    if({{ days_since_1970 }} between -719162 and 2932896, date_from_unix_date({{ days_since_1970 }}), null)
{%- endmacro %}
