"""The shared servers as a warehouse, and places that take notices."""

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller

from telemetry_warehouse.bigquery import Warehouse
from telemetry_warehouse.local.ports import any_free_port


@pytest.fixture(scope="session")
def warehouse(warehouse_home) -> Warehouse:
    return Warehouse(warehouse_home)


class Webhook:
    """An HTTP server that keeps the JSON it is sent, and refuses all of it while `broken`."""

    def __init__(self):
        self.received: list[dict] = []
        self.broken = False
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not hook.broken:
                    hook.received.append(json.loads(body))
                self.send_response(500 if hook.broken else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://hookuser:hooksecret@127.0.0.1:{self.server.server_port}/hooktoken"


@pytest.fixture
def webhook():
    hook = Webhook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


class _Mailbox:
    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append(envelope)
        return "250 OK"


@pytest.fixture
def mail_server():
    """A real mail server: `.mails` of its handler are the envelopes that came."""
    server = Controller(_Mailbox(), hostname="127.0.0.1", port=any_free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def told(warehouse_home, webhook) -> Warehouse:
    """The warehouse, whose notices go to the webhook."""
    return Warehouse(replace(warehouse_home, notify=(webhook.url,)))
