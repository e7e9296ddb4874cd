"""GoogleSQL's own analyser and reference engine: a server from Google's source, driven over its own protocol.

`./setup.sh googlesql` brings it. Its messages are made here from the descriptors of its protocol and not from generated
modules, which work only with the version of protobuf that they were generated for.
"""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from telemetry_warehouse.local.ports import accepts, any_free_port
from telemetry_warehouse.settings import ROOT

FOLDER = ROOT / ".venv" / "googlesql"
_SERVICE = "zetasql.local_service.ZetaSqlLocalService"
_PATIENCE = 60  # seconds for one call, on a machine that does much else
# BigQuery's timestamps end at microseconds.
_NOT_IN_BIGQUERY = {"FEATURE_TIMESTAMP_NANOS"}


class Refused(Exception):
    """The analyser does not accept a statement, or the reference engine ended with an error; its own words."""


@cache
def _protocol() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString((FOLDER / "local_service.protoset").read_bytes()).file:
        pool.Add(file)
    return pool


def message(name: str, /, **fields):
    """A new message of the protocol, such as "SimpleCatalogProto"."""
    return message_factory.GetMessageClass(_protocol().FindMessageTypeByName(f"zetasql.{name}"))(**fields)


def number(enum: str, name: str) -> int:
    return _numbers(enum)[name]


@cache
def _numbers(enum: str) -> dict[str, int]:
    return {value.name: value.number for value in _protocol().FindEnumTypeByName(f"zetasql.{enum}").values}


class Engine:
    """A running server. Statements mean there what they mean in BigQuery; times are of UTC."""

    def __init__(self, address: str):
        # A resolved statement over a wide table is long.
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])

    def call(self, method: str, **fields):
        """The answer to a request; raises Refused with the server's message where it says no."""
        described = _protocol().FindServiceByName(_SERVICE).methods_by_name[method]
        request = message_factory.GetMessageClass(described.input_type)(**fields)
        answer = message_factory.GetMessageClass(described.output_type)
        send = self._channel.unary_unary(f"/{_SERVICE}/{method}", lambda m: m.SerializeToString(), answer.FromString)
        try:
            return send(request, timeout=_PATIENCE)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            raise Refused(error.details()) from None

    @cached_property
    def language(self):
        """All of GoogleSQL that BigQuery has, with BigQuery's names of types."""
        language = self.call("GetLanguageOptions", maximum_features=True)
        left_out = {number("LanguageFeature", name) for name in _NOT_IN_BIGQUERY}
        features = [feature for feature in language.enabled_language_features if feature not in left_out]
        language.ClearField("enabled_language_features")
        language.enabled_language_features.extend(features)
        language.product_mode = number("ProductMode", "PRODUCT_EXTERNAL")
        language.ClearField("supported_statement_kinds")
        language.supported_statement_kinds.extend(kind for kind in _numbers("ResolvedNodeKind").values() if kind > 0)
        return language

    def _options(self, *rewrites: str) -> dict:
        return {
            "language_options": self.language,
            "default_timezone": "UTC",
            "error_message_mode": number("ErrorMessageMode", "ERROR_MESSAGE_ONE_LINE"),
            # Parameters have the types of the Python values that come with them.
            "allow_undeclared_parameters": True,
            "enabled_rewrites": [number("ResolvedASTRewrite", name) for name in rewrites],
        }

    def new_catalogue(self, name: str):
        catalogue = message("SimpleCatalogProto", name=name)
        catalogue.builtin_function_options.language_options.CopyFrom(self.language)
        return catalogue

    def register(self, catalogue) -> int:
        """Leaves a catalogue with the server, so that it need not be sent with every statement; returns its number."""
        return self.call("RegisterCatalog", simple_catalog=catalogue).registered_id

    def analyse(self, sql: str, catalogue: int) -> list:
        """The resolved statements of a script on a registered catalogue. Raises Refused naming line and column."""
        statements, text, position = [], sql.encode(), 0
        while text[position:].strip():
            where = {"input": sql, "byte_position": position, "allow_resume": True}
            answer = self.call(
                "Analyze", parse_resume_location=where, options=self._options(), registered_catalog_id=catalogue
            )
            statements.append(answer.resolved_statement)
            position = answer.resume_byte_position
        return statements

    def evaluate(self, sql: str, catalogue, contents: dict):
        """What the reference engine makes of a query: the names and types of its columns, and its rows as values.

        `contents` gives, by the name of a table in `catalogue`, what it holds. Raises Refused with the error that the
        query ends in.
        """
        # Functions with a body of SQL are put in place before anything runs.
        options = self._options("REWRITE_INLINE_SQL_FUNCTIONS")
        answer = self.call("EvaluateQuery", sql=sql, options=options, simple_catalog=catalogue, table_content=contents)
        return answer.prepared.columns, answer.content.table_data.row


@contextlib.contextmanager
def running(log: Path) -> Iterator[Engine]:
    """A server on a port of its own, gone in the end; RuntimeError with its last words if it does not start."""
    port = any_free_port()
    with log.open("wb") as output:
        process = subprocess.Popen([FOLDER / "remote_server.so", "127.0.0.1", str(port)], stdout=output, stderr=output)
    try:
        while not accepts(port):
            if process.poll() is not None:
                raise RuntimeError(f"GoogleSQL's own analyser does not start here: {log.read_text().strip()}")
            time.sleep(0.05)
        yield Engine(f"127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
