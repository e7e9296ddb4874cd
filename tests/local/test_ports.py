import socket

import pytest

from telemetry_warehouse.local import ports


@pytest.fixture
def listener():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_preferred_port_is_taken_where_it_is_free(tmp_path):
    free = ports.any_free_port()
    assert ports.assigned(tmp_path, {"bigquery": free}) == {"bigquery": free}


def test_a_preferred_port_that_is_busy_is_replaced_by_a_free_one(tmp_path, listener):
    chosen = ports.assigned(tmp_path, {"bigquery": listener})["bigquery"]
    assert chosen != listener and ports.is_free(chosen)


def test_no_two_servers_of_a_home_get_one_port(tmp_path):
    one = ports.any_free_port()
    assert len(set(ports.assigned(tmp_path, {"a": one, "b": one, "c": one}).values())) == 3


def test_the_choice_is_remembered_even_while_the_port_is_busy(tmp_path, listener):
    first = ports.assigned(tmp_path, {"bigquery": ports.any_free_port()})
    assert ports.assigned(tmp_path, {"bigquery": listener}) == first == ports.remembered(tmp_path)


def test_a_busy_port_is_one_line_that_names_port_use_and_ways_out(tmp_path, listener):
    with pytest.raises(ports.PortBusy) as caught:
        ports.require_free(tmp_path, "pubsub", listener)
    text = str(caught.value)
    assert "\n" not in text
    assert all(part in text for part in (str(listener), "pubsub", "stop that program", f"delete {tmp_path}/ports.json"))


def test_a_port_with_lingering_connections_of_a_stopped_server_is_free():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
    accepted.close()  # the server's side closes first and stays in TIME_WAIT
    client.close()
    assert ports.is_free(port)
