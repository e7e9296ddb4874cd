"""Deadlines of requests: a server that has stopped answering ends a command with an error, never in silence.

A job may run for hours, because waiting for it is many short requests. Each of these ends within REQUEST_SECONDS.
Errors are NotRunning, which no client library takes for a reason to try again by itself.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import grpc
import requests
from google.api_core.exceptions import Aborted, DeadlineExceeded, RetryError, ServiceUnavailable, Unknown
from google.api_core.retry import Retry, if_exception_type
from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession

from telemetry_warehouse.errors import NotRunning, one_line

# Far more than an answer takes, on a laptop that is busy too.
REQUEST_SECONDS = 120
# A server that has just let a request wait that long gets less time for the next ones, until it answers again.
RETRY_SECONDS = 10
_SAFE = "what is published stays as it is; run the command again once it answers"


class Session(AuthorizedSession):
    """HTTP requests to BigQuery that end within REQUEST_SECONDS, whatever the caller asks for.

    A connection that breaks is left to the client library, which tries again; where that does not help for
    REQUEST_SECONDS, it is an error too.
    """

    def __init__(self, credentials: Credentials):
        super().__init__(credentials)
        self._is_silent = False
        self._broken_since: float | None = None

    def request(self, method, url, *args, timeout=None, **options):
        seconds = RETRY_SECONDS if self._is_silent else REQUEST_SECONDS
        if isinstance(timeout, int | float):
            seconds = min(seconds, timeout)
        address = urlsplit(url)
        server = f"the warehouse at {address.scheme}://{address.netloc}"
        try:
            response = super().request(method, url, *args, timeout=seconds, **options)
        except requests.Timeout:
            self._is_silent = True
            raise NotRunning(f"{server} has not answered within {seconds:.0f} s; {_SAFE}") from None
        except requests.ConnectionError as error:
            now = time.monotonic()
            self._broken_since = self._broken_since or now
            if now - self._broken_since < REQUEST_SECONDS:
                raise
            raise NotRunning(f"{server} cannot be reached ({one_line(error)}); {_SAFE}") from None
        self._is_silent, self._broken_since = False, None
        return response


def bigquery_client(project: str, credentials: Credentials, **options):
    """A google.cloud.bigquery.Client whose requests have a deadline; `options` are its own."""
    from google.cloud import bigquery

    return bigquery.Client(project, credentials, _http=Session(credentials), **options)


class _Watched:
    """A stream of answers, each of which must come within REQUEST_SECONDS; else as the call that it stands for."""

    def __init__(self, call, method: str):
        self._call, self._method = call, method

    def __getattr__(self, name):
        return getattr(self._call, name)

    def __iter__(self) -> Iterator:
        return self

    def __next__(self):
        late = threading.Event()

        def give_up():
            late.set()
            self._call.cancel()

        timer = threading.Timer(REQUEST_SECONDS, give_up)
        timer.daemon = True
        timer.start()
        try:
            return next(self._call)
        except grpc.RpcError:
            if late.is_set():
                raise NotRunning(f"{self._method} has sent nothing for {REQUEST_SECONDS} s; {_SAFE}") from None
            raise
        finally:
            timer.cancel()


class _Interceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def intercept_unary_unary(self, continuation, details, request):
        seconds = min(details.timeout or REQUEST_SECONDS, REQUEST_SECONDS)
        call = continuation(details._replace(timeout=seconds), request)
        if call.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            raise NotRunning(f"{details.method} has not been answered within {seconds:.0f} s; {_SAFE}")
        return call

    def intercept_unary_stream(self, continuation, details, request):
        return _Watched(continuation(details, request), details.method)


def with_deadlines(channel: grpc.Channel) -> grpc.Channel:
    """The channel, of which every call ends within REQUEST_SECONDS and every stream goes on within them."""
    return grpc.intercept_channel(channel, _Interceptor())


def retry(seconds: float) -> Retry:
    """For a connection to Pub/Sub that breaks: not longer than a request may take."""
    return Retry(if_exception_type(Aborted, ServiceUnavailable, Unknown), initial=0.1, maximum=5, timeout=seconds)


@contextmanager
def answering(server: str, safe: str) -> Iterator[None]:
    """Raises NotRunning, naming the server and what is `safe`, where a Pub/Sub client says that it gets no answer."""
    try:
        yield
    except (DeadlineExceeded, RetryError, ServiceUnavailable) as error:
        cause = getattr(error, "cause", None) or error
        raise NotRunning(f"{server} does not answer ({one_line(getattr(cause, 'message', cause))}); {safe}") from None
