"""Which Pub/Sub server stands in: the project's own broker, or where that is asked for Google's emulator.

The emulator also speaks plain HTTP, so that any web page can publish to it; the broker speaks gRPC alone, which no page
can.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from telemetry_warehouse.errors import SettingsError, WarehouseError

JAR = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"
USUAL_ROOTS = tuple(f"{place}/google-cloud-sdk" for place in ("/usr/lib", "/usr/share", "/opt", "~"))

# Landing must load a batch before the lease of its messages ends.
ACK_DEADLINE_SECONDS = 60
ABOUT = {
    "google": "Google's Pub/Sub emulator (its messages are lost when it stops)",
    "broker": "the project's own durable Pub/Sub broker",
}


def refuse_missing(kind: str) -> None:
    """Raises SettingsError where Google's emulator is asked for and the machine lacks it."""
    java, jar = shutil.which("java"), find_jar()
    if kind == "google" and not (java and jar):
        missing = "java on PATH" if not java else "the Cloud SDK with its component pubsub-emulator"
        raise SettingsError(
            f"WAREHOUSE_PUBSUB_SERVER is google and this machine lacks {missing}; "
            "install it, or set WAREHOUSE_PUBSUB_SERVER to broker"
        )


def command(kind: str, home: Path, port: int) -> list[str]:
    """What starts the server; raises what refuse_missing raises."""
    refuse_missing(kind)
    if kind == "google":
        return [shutil.which("java"), "-Xmx1g", "-jar", str(find_jar()), "--host=127.0.0.1", f"--port={port}"]
    database = home / "pubsub" / "broker.sqlite"
    broker = "telemetry_warehouse.local.pubsub_broker"
    return [sys.executable, "-P", "-m", broker, "--port", str(port), "--database", str(database)]


def create_subscription(address: str, project: str, topic: str, subscription: str) -> None:
    """Makes the topic and the subscription where they are missing."""
    import grpc
    from google.pubsub_v1 import types

    topic, subscription = f"projects/{project}/topics/{topic}", f"projects/{project}/subscriptions/{subscription}"
    wanted = {
        "Publisher/CreateTopic": types.Topic(name=topic),
        "Subscriber/CreateSubscription": types.Subscription(
            name=subscription, topic=topic, ack_deadline_seconds=ACK_DEADLINE_SECONDS
        ),
    }
    with grpc.insecure_channel(address) as channel:
        for method, request in wanted.items():
            create = channel.unary_unary(f"/google.pubsub.v1.{method}")
            try:
                create(type(request).serialize(request), timeout=10, wait_for_ready=True)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                    raise WarehouseError(f"Pub/Sub refused {method} of {request.name}: {error.details()}") from error


def find_jar() -> Path | None:
    """Google's emulator under the Cloud SDK's root, the newest where there are several."""
    for root in _sdk_roots():
        jars = sorted(root.glob(JAR))
        if jars:
            return jars[-1]
    return None


def _sdk_roots() -> Iterator[Path]:
    if os.environ.get("CLOUDSDK_ROOT_DIR"):
        yield Path(os.environ["CLOUDSDK_ROOT_DIR"])
    if gcloud := shutil.which("gcloud"):
        yield Path(gcloud).resolve().parents[1]
    for root in USUAL_ROOTS:
        yield Path(root).expanduser()
