"""Rows as Python has them, and as the engine's protocol has them."""

import json
from datetime import UTC, date, timedelta

from google.cloud.bigquery import SchemaField

from tests.googlesql.engine import message, number

_EPOCH = date(1970, 1, 1)


def content(columns: tuple[SchemaField, ...], rows: list[dict]):
    """What a table with these columns holds."""
    table = message("local_service.TableContent")
    # A table without rows is not one without content.
    table.table_data.SetInParent()
    for row in rows:
        added = table.table_data.row.add()
        for column in columns:
            _write(added.cell.add(), column, row[column.name])
    return table


def _write(cell, column: SchemaField, value) -> None:
    if column.mode == "REPEATED":
        cell.array_value.SetInParent()
        element = SchemaField(column.name, column.field_type, fields=column.fields)
        for one in value or []:
            _write(cell.array_value.element.add(), element, one)
    elif value is None:
        return
    elif column.field_type == "RECORD":
        cell.struct_value.SetInParent()
        for field in column.fields:
            _write(cell.struct_value.field.add(), field, value[field.name])
    elif column.field_type == "DATE":
        cell.date_value = (value - _EPOCH).days
    elif column.field_type == "JSON":
        cell.json_value = json.dumps(value)
    elif column.field_type == "TIMESTAMP":
        cell.timestamp_value.FromDatetime(value)
    else:
        names = {"INTEGER": "int64", "FLOAT": "double", "STRING": "string", "BOOLEAN": "bool", "BYTES": "bytes"}
        setattr(cell, f"{names[column.field_type]}_value", value)


def plain(value, described):
    """A value of the engine as the BigQuery client would give it; `described` is its type."""
    kind = described.type_kind
    if kind == number("TypeKind", "TYPE_ARRAY"):
        # BigQuery stores no NULL array.
        return [plain(element, described.array_type.element_type) for element in value.array_value.element]
    if value.WhichOneof("value") is None:
        return None
    if kind == number("TypeKind", "TYPE_STRUCT"):
        fields = zip(value.struct_value.field, described.struct_type.field, strict=True)
        return {field.field_name: plain(member, field.field_type) for member, field in fields}
    if kind == number("TypeKind", "TYPE_DATE"):
        return _EPOCH + timedelta(days=value.date_value)
    if kind == number("TypeKind", "TYPE_TIMESTAMP"):
        return value.timestamp_value.ToDatetime(UTC)
    if kind == number("TypeKind", "TYPE_JSON"):
        return json.loads(value.json_value)
    return getattr(value, value.WhichOneof("value"))
