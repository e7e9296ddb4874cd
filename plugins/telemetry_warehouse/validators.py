"""Validators of JSON Schemas that no pattern and no document can keep busy for long."""

# A step takes about 15 ns. Patterns that are in use need tens, or one for each character of a text.
BACKTRACK_LIMIT = 10_000


def compile_schema(schema: dict):
    """The validator of a JSON Schema, whose time is bounded whatever its patterns are and whatever it validates.

    Patterns are matched in linear time. Where one has a lookaround or a back-reference, which that cannot do, no match
    takes more than BACKTRACK_LIMIT steps; a text that needs more does not pass, be it under `not`.
    Raises ValueError, TypeError or jsonschema_rs.ReferencingError for a bad schema.
    """
    import jsonschema_rs

    bounded = jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACK_LIMIT)
    # offline: a schema must never make the warehouse fetch something from the network.
    try:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=jsonschema_rs.RegexOptions())
    except jsonschema_rs.ValidationError:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=bounded)
