"""Who may come in, and which files the engine may open.

The server asks for no password, so that ordinary clients work as they are. It listens on 127.0.0.1 alone, which every
program of the machine can reach, and so can a web page: by a form, or by a name of its own that it lets point to
127.0.0.1. Pages are refused, and what SQL can read and write are the files of the server itself.
"""

import json
from pathlib import Path

# As a client of this machine names it; a page that was let in by a name of its own says that name.
_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_PAGES_OF_FASTAPI = ("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")


def refuse_web_pages() -> None:
    """A request that names another host, or that a page sends (a browser says so by `Origin`), is answered with 403."""
    from local_bigquery import app

    class Door:
        def __init__(self, inner):
            self._inner = inner

        async def __call__(self, scope, receive, send):
            fault = _fault(scope["headers"]) if scope["type"] in ("http", "websocket") else None
            if fault is None:
                return await self._inner(scope, receive, send)
            error = {"code": 403, "message": fault, "status": "PERMISSION_DENIED"}
            error["errors"] = [{"reason": "accessDenied", "message": fault, "domain": "global"}]
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps({"error": error}).encode()})

    app.add_middleware(Door)
    app.router.routes[:] = [route for route in app.routes if getattr(route, "path", "") not in _PAGES_OF_FASTAPI]


def _fault(headers: list[tuple[bytes, bytes]]) -> str | None:
    """Why a request is refused, or None."""
    if any(name == b"origin" for name, _ in headers):
        return "a web page sent this, and the stand-in for BigQuery answers programs alone"
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if [_without_port(host) for host in hosts] not in [[host] for host in _HOSTS]:
        named = ", ".join(hosts) or "no host"
        return f"this is sent to {named}, and the stand-in for BigQuery is {' or '.join(_HOSTS)}"
    return None


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def open_files_of_the_server_alone() -> None:
    """DuckDB itself refuses every other path, and the network, in whatever way SQL names it."""
    import functools

    from local_bigquery.engine import database
    from local_bigquery.errors import BigQueryError
    from local_bigquery.jobs import storage
    from local_bigquery.settings import settings

    connect, local = database._connect, storage._local

    @functools.cache
    def connect_and_close():
        con = connect.__wrapped__()
        own = {settings.data_dir, settings.data_dir.resolve()}
        folders = ", ".join(storage.literal(f"{folder}/") for folder in own)
        con.execute(f"SET temp_directory = {storage.literal(str(settings.data_dir / 'temporary'))}")
        con.execute(f"SET allowed_directories = [{folders}]")
        con.execute("SET enable_external_access = false")
        return con

    def local_file_of_the_server(uri):
        path = Path(local(uri))
        if not path.resolve().is_relative_to(settings.data_dir.resolve()):
            raise BigQueryError("accessDenied", f"{uri} is no file below {settings.data_dir}, and no other is opened")
        return str(path)

    database._connect, storage._local = connect_and_close, local_file_of_the_server


ALL = (refuse_web_pages, open_files_of_the_server_alone)
