"""The project's own YAML and JSON files, read so that nothing in them is lost.

A parser keeps the last of two equal keys and says nothing, and after a merge of two branches a whole list of
expectations can be gone. Such a file is refused, and so is one with two columns of one name.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from telemetry_warehouse.errors import WarehouseError, one_line

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:]')


class FileError(WarehouseError):
    """A file of the project that cannot be read as it stands, naming the file, the line where it is known, and why."""


class _RepeatedKey(Exception):
    pass


class Placed(dict):
    """A mapping of a YAML file that knows where it stands."""

    def __init__(self, members: Mapping, path: Path, line: int, lines: Mapping[str, int]):
        super().__init__(members)
        self._path, self._line, self._lines = path, line, lines

    def place(self, key: object = None) -> str:
        """The file and the line of a key; that of the mapping, for a key that it does not have."""
        return f"{self._path}:{self._lines.get(key, self._line)}"


def read_yaml(path: Path) -> object:
    """What a YAML file holds; None for an empty one.

    Raises FileError for what is no YAML and for a key or a column that stands twice, OSError for a file that cannot be
    opened.
    """
    return _read(path)[1]


def read_mappings(path: Path, key: str) -> list[Placed]:
    """The mappings of the list that a YAML file holds below `key`, and nothing else.

    Raises FileError and OSError as read_yaml does, and FileError, naming the line, for a file of another shape.
    """
    root, document = _read(path)
    wanted = f"it holds `{key}:` and below it a list of mappings"

    def refuse(node, what: str) -> FileError:
        return FileError(f"{path}:{node.start_mark.line + 1 if node else 1}: {what}; {wanted}")

    if root is None or root.id != "mapping":
        raise refuse(root, "this is no mapping")
    for name, value in root.value:
        if name.value != key:
            raise refuse(name, f"{name.value!r} is none of its keys")
        if value.id != "sequence":
            raise refuse(value, f"{key} is no list")
    if not root.value:
        raise refuse(root, "this is empty")
    [(_, items)] = root.value
    found = []
    for node, members in zip(items.value, document[key], strict=True):
        if node.id != "mapping" or not all(isinstance(name, str) for name in members):
            raise refuse(node, f"{members!r} is no mapping of names")
        lines = {name.value: name.start_mark.line + 1 for name, _ in node.value}
        found.append(Placed(members, path, node.start_mark.line + 1, lines))
    return found


def _read(path: Path) -> tuple:
    """The root node of a YAML file and what it holds."""
    import yaml

    with path.open("rb") as file:
        loader = yaml.CSafeLoader(file)
        try:
            root = loader.get_single_node()
            if root is None:
                return None, None
            for node in _mappings(root, set()):
                _refuse_repeated(path, loader, node)
            return root, loader.construct_document(root)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise FileError(f"{path} is no usable YAML: {one_line(error)}") from error
        finally:
            loader.dispose()


def read_json(path: Path) -> object:
    """What a JSON file holds. Raises FileError as `read_yaml` does."""
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text, object_pairs_hook=_unique)
    except _RepeatedKey:
        key, line, first = _repeated_key(text)
        raise FileError(_twice(path, "key", key, line, first)) from None
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is no usable JSON: {one_line(error)}") from error


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file of which a reader, also after a full disk or a kill, sees all or what was there before."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def check_yaml(directory: Path) -> None:
    """Reads every YAML file below a directory; raises FileError for the first that is refused."""
    for path in sorted(p for p in directory.rglob("*") if p.suffix in (".yml", ".yaml") and p.is_file()):
        read_yaml(path)


def _mappings(node, seen: set[int]) -> Iterator:
    """The mappings in a tree of YAML nodes, each once however many aliases lead to it."""
    import yaml

    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield node
        for pair in node.value:
            for part in pair:
                yield from _mappings(part, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _mappings(item, seen)


def _refuse_repeated(path: Path, loader, mapping) -> None:
    # Before anything is merged into it by `<<`: what a mapping says itself may replace what it merges.
    lines: dict[object, int] = {}
    for key_node, value in mapping.value:
        # A key that is a list or a mapping is refused when the document is made.
        if key_node.id == "scalar":
            merges = key_node.tag == "tag:yaml.org,2002:merge"
            key, line = "<<" if merges else loader.construct_object(key_node), key_node.start_mark.line + 1
            if key in lines:
                raise FileError(_twice(path, "key", key, line, lines[key]))
            lines[key] = line
            if key == "columns" and value.id == "sequence":
                _refuse_repeated_columns(path, value)


def _refuse_repeated_columns(path: Path, columns) -> None:
    lines: dict[str, int] = {}
    for column in columns.value:
        for key, name in column.value if column.id == "mapping" else ():
            if key.value == "name" and name.id == "scalar":
                line = name.start_mark.line + 1
                if name.value.lower() in lines:
                    raise FileError(_twice(path, "column", name.value, line, lines[name.value.lower()]))
                lines[name.value.lower()] = line


def _unique(pairs: list[tuple[str, object]]) -> dict:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _RepeatedKey
    return members


def _repeated_key(text: str) -> tuple[str, int, int]:
    """The first key that an object of a JSON text has twice, its line and the line where it stood first."""
    objects: list[dict[str, int]] = []
    string = start = None
    for token in _TOKEN.finditer(text):
        if token[0] in "{[":
            objects.append({})
        elif token[0] in "}]":
            objects.pop()
        elif token[0] == ":":
            key, line = json.loads(string), text.count("\n", 0, start) + 1
            if key in objects[-1]:
                return key, line, objects[-1][key]
            objects[-1][key] = line
        else:
            string, start = token[0], token.start()
    raise AssertionError("no key stands twice")


def _twice(path: Path, what: str, name: object, line: int, first: int) -> str:
    return f"{path} has the {what} {name!r} twice, in lines {first} and {line}; keep one"
