"""No file of ours may have a key twice, at any depth, and every such file is read by one loader."""

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse import files
from telemetry_warehouse.files import FileError, check_yaml, read_json, read_yaml
from telemetry_warehouse.settings import ROOT

KEYS = st.sampled_from(["expectations", "columns", "a", 'quo"te', "br{ace", "é", ""])


class Members(list):
    """The members of an object as pairs, in which a key may stand more than once."""


VALUES = st.recursive(
    st.integers() | st.text('ab{}"\\: #', max_size=3) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(KEYS, inner), max_size=3).map(Members),
    max_leaves=12,
)


def written(value) -> str:
    """JSON, which is YAML too as long as it is written on one line."""
    if isinstance(value, Members):
        return (
            "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {written(member)}" for key, member in value) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def repeated(value) -> set[str]:
    if not isinstance(value, list):
        return set()
    members = [member for _, member in value] if isinstance(value, Members) else value
    keys = [key for key, _ in value] if isinstance(value, Members) else []
    return {key for key in keys if keys.count(key) > 1}.union(*map(repeated, members))


@pytest.mark.parametrize("read", [read_json, read_yaml])
@given(value=VALUES)
def test_a_key_that_is_twice_anywhere_is_refused_by_name_and_all_else_is_read(read, value, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / f"{read.__name__}.txt"
    path.write_text(written(value))
    if keys := repeated(value):
        with pytest.raises(FileError) as raised:
            read(path)
        assert any(str(raised.value) == f"{path} has the key {key!r} twice, in lines 1 and 1; keep one" for key in keys)
    else:
        assert read(path) == json.loads(written(value))


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("expectations: [1]\ncolumns: []\nexpectations: [2]\n", "the key 'expectations' twice, in lines 1 and 3"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n  <<: *a\n", "the key '<<' twice, in lines 3 and 4"),
        ("a:\n  - b:\n      c: 1\n      ? c\n      : 2\n", "the key 'c' twice, in lines 3 and 4"),
        ("1: a\ntrue: b\n", "the key True twice, in lines 1 and 2"),
        ("columns:\n- {name: mau}\n- name: dau\n- {name: MAU}\n", "the column 'MAU' twice, in lines 2 and 4"),
        ("a: [", "is no usable YAML"),
        ("? [a]\n: 1\n", "is no usable YAML"),
        ("day: 2026-99-99", "is no usable YAML"),
        ("a: !!python/object/apply:os.getcwd []", "is no usable YAML"),
    ],
)
def test_yaml_that_would_lose_something_is_refused_with_its_lines(tmp_path, text, refusal):
    path = tmp_path / "broken.yml"
    path.write_text(text)
    with pytest.raises(FileError) as raised:
        read_yaml(path)
    assert str(raised.value).startswith(str(path)) and refusal in str(raised.value)


def test_what_a_mapping_says_itself_replaces_what_it_merges(tmp_path):
    path = tmp_path / "merged.yml"
    path.write_text("deep: {one: &one {<<: {k: 1, l: 1}, k: 2}}\ntwo: {<<: *one, l: 3}\nthree: {<<: [*one, {m: 4}]}\n")
    assert read_yaml(path) == {
        "deep": {"one": {"k": 2, "l": 1}},
        "two": {"k": 2, "l": 3},
        "three": {"k": 2, "l": 1, "m": 4},
    }


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (
            '{\n"type": "object",\n"properties": {"a": {}, "b": "}"},\n"\\u0074ype": 1}',
            "'type' twice, in lines 2 and 4",
        ),
        ('[{"a": {"b": 1}},\n{"a": {"c": 1,\n"c": 1}}]', "'c' twice, in lines 2 and 3"),
        ("{", "is no usable JSON"),
        ("[" * 200_000, "is no usable JSON"),
        (b"\xff", "is no usable JSON"),
    ],
)
def test_json_that_would_lose_something_is_refused_with_its_lines(tmp_path, text, refusal):
    path = tmp_path / "broken.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FileError) as raised:
        read_json(path)
    assert str(raised.value).startswith(str(path)) and refusal in str(raised.value)


def test_every_file_of_the_project_is_read(tmp_path):
    for folder in ("dbt_project", "sql", "schemas"):
        check_yaml(ROOT / folder)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.yaml").write_text("a: 1\na: 2\n")
    with pytest.raises(FileError, match="b.yaml has the key 'a' twice"):
        check_yaml(tmp_path)


# Who reads JSON from elsewhere than a file of ours: what the stand-ins, Airflow, dbt or the warehouse wrote, or pings.
OTHERS_JSON = {
    "gates/judge.py", "landing/archive.py", "landing/decode.py", "landing/exact.py", "lineage.py",
    "local/airflow.py", "local/airflow_api.py", "local/bigquery_server/definitions.py", "local/ports.py",
    "local/standins.py", "publishing.py", "sample.py", "settings.py", "simulate/truth.py", "staged.py",
    "verdicts.py",
}  # fmt: skip


def test_nobody_else_reads_yaml_or_json_of_ours():
    package = ROOT / "plugins" / "telemetry_warehouse"
    readers = {"yaml": set(), "json": set(), "orjson": set()}
    for path in [*package.rglob("*.py"), *(ROOT / "dags").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(value=ast.Name(id=module), attr=attr) if module in readers and "oad" in attr:
                    readers[module].add(str(path.relative_to(package, walk_up=True)))
                case ast.ImportFrom(module=module, names=names) if module in readers:
                    if any("oad" in name.name for name in names):
                        readers[module].add(f"{path.name}: import {module} as a whole")
    own = str(files.__file__).removeprefix(f"{package}/")
    assert readers["yaml"] == {own}
    assert (readers["json"] | readers["orjson"]) - OTHERS_JSON == {own}
