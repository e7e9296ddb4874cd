"""What the Pub/Sub broker keeps: topics, subscriptions and unacknowledged messages in SQLite, leases in memory."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

# https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names
ANY_NAME = r"(?!goog)[A-Za-z][\w.~+%-]{2,254}"
DELETED_TOPIC = "_deleted-topic_"
# A pull returns fewer messages than asked for rather than more than about this much.
PULL_BYTES = 16_000_000
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS topics (name TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS subscriptions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, topic TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS pending (
    subscription INTEGER NOT NULL, message INTEGER NOT NULL, PRIMARY KEY (subscription, message)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pending_by_message ON pending (message);
"""


class Missing(Exception):
    """A topic or subscription of that name is not there."""


class Taken(Exception):
    """A topic or subscription of that name is there already."""


class BadRequest(Exception):
    """A request that Pub/Sub does not accept."""


class DiskFull(Exception):
    """A request of which nothing was kept for want of room."""


# The log, or what is said of it in shared memory, cannot grow.
_FULL = sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE


@dataclass
class Leases:
    """Who has been given what, of one subscription. Message numbers grow, so a cursor tells the new from the seen."""

    cursor: int = 0
    deadlines: dict[int, float] = field(default_factory=dict)
    expiring: list[tuple[float, int]] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)

    def lease(self, number: int, deadline: float) -> None:
        self.deadlines[number] = deadline
        heappush(self.expiring, (deadline, number))

    def collect_expired(self, now: float) -> None:
        while self.expiring and self.expiring[0][0] <= now:
            deadline, number = heappop(self.expiring)
            # A lease that was prolonged or acknowledged meanwhile left its former deadline behind.
            if self.deadlines.get(number) == deadline:
                del self.deadlines[number]
                heappush(self.returned, number)


class Store:
    """One SQLite file and one lock: each call below is a transaction."""

    def __init__(self, file: Path):
        self._folder = file.parent
        self._database = sqlite3.connect(file, check_same_thread=False)
        self._database.executescript(SCHEMA)
        self._changed = threading.Condition()
        self._leases: dict[int, Leases] = {}

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """The lock and a transaction, of which a full disk leaves nothing."""
        try:
            with self._changed, self._database as database:
                yield database
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in _FULL:
                raise
            free = shutil.disk_usage(self._folder).free / 1e6
            raise DiskFull(
                f"the disk of {self._folder} is full: {free:,.1f} MB are free; nothing of this request was kept;"
                " free some space there and send it again"
            ) from error

    def create_topic(self, name: str, body: bytes) -> None:
        with self._change() as database:
            try:
                database.execute("INSERT INTO topics VALUES (?, ?)", (name, body))
            except sqlite3.IntegrityError:
                raise Taken(f"topic {name} exists already") from None

    def topic(self, name: str) -> bytes:
        with self._changed:
            row = self._database.execute("SELECT body FROM topics WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise Missing(f"there is no topic {name}")
        return row[0]

    def topics(self, prefix: str) -> list[bytes]:
        with self._changed:
            rows = self._database.execute("SELECT name, body FROM topics ORDER BY name").fetchall()
        return [body for name, body in rows if name.startswith(prefix)]

    def delete_topic(self, name: str) -> None:
        """Its subscriptions keep what they have."""
        with self._change() as database:
            if not database.execute("DELETE FROM topics WHERE name = ?", (name,)).rowcount:
                raise Missing(f"there is no topic {name}")
            database.execute("UPDATE subscriptions SET topic = ? WHERE topic = ?", (DELETED_TOPIC, name))

    def create_subscription(self, name: str, topic: str, body: bytes) -> None:
        self.topic(topic)
        with self._change() as database:
            try:
                database.execute("INSERT INTO subscriptions (name, topic, body) VALUES (?, ?, ?)", (name, topic, body))
            except sqlite3.IntegrityError:
                raise Taken(f"subscription {name} exists already") from None

    def subscription(self, name: str) -> tuple[bytes, str]:
        """Its definition, and its topic as of now."""
        with self._changed:
            row = self._database.execute("SELECT body, topic FROM subscriptions WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise Missing(f"there is no subscription {name}")
        return row

    def subscriptions(self, prefix: str) -> list[tuple[bytes, str]]:
        with self._changed:
            rows = self._database.execute("SELECT name, body, topic FROM subscriptions ORDER BY name").fetchall()
        return [(body, topic) for name, body, topic in rows if name.startswith(prefix)]

    def delete_subscription(self, name: str) -> None:
        with self._change() as database:
            number = self._number(name)
            database.execute("DELETE FROM subscriptions WHERE number = ?", (number,))
            database.execute("DELETE FROM pending WHERE subscription = ?", (number,))
            database.execute("DELETE FROM messages WHERE number NOT IN (SELECT message FROM pending)")
            self._leases.pop(number, None)
            self._changed.notify_all()

    def publish(self, topic: str, messages: Sequence) -> list[int]:
        """Numbers and times the protobuf messages, and returns their numbers after the commit."""
        self.topic(topic)
        with self._change() as database:
            readers = database.execute("SELECT number FROM subscriptions WHERE topic = ?", (topic,)).fetchall()
            last = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone() or (0,)
            numbers = range(last[0] + 1, last[0] + 1 + len(messages))
            for number, message in zip(numbers, messages, strict=True):
                message.message_id = str(number)
                message.publish_time.GetCurrentTime()
            bodies = ((number, m.SerializeToString()) for number, m in zip(numbers, messages, strict=True))
            database.executemany("INSERT INTO messages VALUES (?, ?)", bodies)
            for (reader,) in readers:
                database.executemany("INSERT INTO pending VALUES (?, ?)", ((reader, number) for number in numbers))
            if not readers:  # the numbers are used up all the same
                database.execute("DELETE FROM messages WHERE number >= ?", (numbers.start,))
            self._changed.notify_all()
        return list(numbers)

    def pull(self, name: str, most: int, lease_seconds: float, wait_seconds: float) -> list[tuple[str, bytes]]:
        """Up to `most` (ack id, message): what came back first, then the new, in the order of publishing. Waits up
        to `wait_seconds` for the first one."""
        give_up = time.monotonic() + wait_seconds
        with self._changed:
            while True:
                number = self._number(name)
                leases = self._leases.setdefault(number, Leases())
                now = time.monotonic()
                leases.collect_expired(now)
                taken = self._take(number, leases, most)
                if taken or now >= give_up:
                    break
                until = min(give_up, leases.expiring[0][0]) if leases.expiring else give_up
                self._changed.wait(until - now)
            for message, _ in taken:
                leases.lease(message, now + lease_seconds)
        return [(f"{number}-{message}", body) for message, body in taken]

    def _take(self, subscription: int, leases: Leases, most: int) -> list[tuple[int, bytes]]:
        taken, size = [], 0
        while leases.returned and len(taken) < most and size < PULL_BYTES:
            message = heappop(leases.returned)
            row = self._database.execute(
                "SELECT body FROM pending JOIN messages ON number = message WHERE subscription = ? AND message = ?",
                (subscription, message),
            ).fetchone()
            if row:  # a late acknowledgement may have taken it
                taken.append((message, row[0]))
                size += len(row[0])
        rows = self._database.execute(
            "SELECT message, body FROM pending JOIN messages ON number = message "
            "WHERE subscription = ? AND message > ? ORDER BY message LIMIT ?",
            (subscription, leases.cursor, most - len(taken)),
        )
        for message, body in rows:
            if size >= PULL_BYTES:
                break
            taken.append((message, body))
            size += len(body)
            leases.cursor = message
        return taken

    def acknowledge(self, name: str, ack_ids: Iterable[str]) -> None:
        """Also of a lease that has expired: the message is then not delivered again."""
        with self._changed:
            number = self._number(name)
            messages = _messages(number, ack_ids)
            with self._change() as database:
                database.executemany(
                    "DELETE FROM pending WHERE subscription = ? AND message = ?", [(number, m) for m in messages]
                )
                database.executemany(
                    "DELETE FROM messages WHERE number = ? AND NOT EXISTS (SELECT * FROM pending WHERE message = ?)",
                    [(m, m) for m in messages],
                )
            leases = self._leases.setdefault(number, Leases())
            for message in messages:
                leases.deadlines.pop(message, None)

    def modify_deadline(self, name: str, ack_ids: Iterable[str], seconds: float) -> None:
        """The lease ends `seconds` from now; 0 gives the message back. An expired lease stays expired."""
        with self._changed:
            number = self._number(name)
            leases = self._leases.setdefault(number, Leases())
            deadline = time.monotonic() + seconds
            for message in _messages(number, ack_ids):
                if message in leases.deadlines:
                    leases.lease(message, deadline)
            self._changed.notify_all()

    def _number(self, name: str) -> int:
        row = self._database.execute("SELECT number FROM subscriptions WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise Missing(f"there is no subscription {name}")
        return row[0]


def _messages(subscription: int, ack_ids: Iterable[str]) -> list[int]:
    messages = []
    for ack_id in ack_ids:
        owner, _, message = ack_id.partition("-")
        if owner != str(subscription) or not message.isdecimal():
            raise BadRequest(f"{ack_id!r} is not an ack id of this subscription")
        messages.append(int(message))
    return messages
