import pytest

from telemetry_warehouse.errors import NotRunning, SettingsError
from telemetry_warehouse.settings import Settings


def test_an_empty_environment_means_the_stand_ins(tmp_path):
    settings = Settings.load({})
    assert settings.project is None and settings.project_id == "local"
    assert settings.home.name == ".warehouse"
    assert [path.name for path in settings.schemas] == ["schemas"]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WAREHOUSE_SCHEMAS", "/no/such/folder", "/no/such/folder"),
        ("WAREHOUSE_MAX_BYTES", "a lot", "'a lot'"),
        ("WAREHOUSE_PUBSUB_SERVER", "rabbit", "broker or google"),
        ("WAREHOUSE_PROJECT", "acme", "WAREHOUSE_LOCK_URL"),
        ("WAREHOUSE_NOTIFY", "json://host/ team@example.com", "no Apprise URL"),
        ("WAREHOUSE_NIGHT_DEADLINE", "6", "'6'; give a time such as 06:00"),
        ("WAREHOUSE_NIGHT_DEADLINE", "25:00", "'25:00'"),
        ("WAREHOUSE_LEAST_EFFECT", "2%", "'2%'; give a share above 0 and below 1"),
        ("WAREHOUSE_FALSE_ALERTS", "1", "'1'"),
        ("WAREHOUSE_FALSE_ALERTS", "nan", "'nan'"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_it(variable, value, said):
    with pytest.raises(SettingsError, match=variable) as caught:
        Settings.load({variable: value})
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_without_stand_ins_the_endpoint_error_says_how_to_start_them(tmp_path):
    settings = Settings.load({"WAREHOUSE_HOME": str(tmp_path)})
    with pytest.raises(NotRunning, match="./warehouse up"):
        settings.bigquery_client()


def test_listed_settings_hide_what_is_secret():
    settings = Settings.load(
        {
            "WAREHOUSE_LOCK_URL": "postgresql://me:secret@host/db",
            "WAREHOUSE_PII_KEY": "secret",
            "WAREHOUSE_NOTIFY": "slack://secret/secret  mailto://me:secret@host",
        }
    )
    shown = {variable: value for variable, value, _ in settings.listed()}
    assert shown["WAREHOUSE_LOCK_URL"] == "postgresql://…@host/db"
    assert shown["WAREHOUSE_PII_KEY"] == "…"
    assert shown["WAREHOUSE_NOTIFY"] == "slack://… mailto://…"
    assert all(meaning for _, _, meaning in settings.listed())


def test_settings_come_through_the_environment_of_another_process(tmp_path):
    given = {
        "WAREHOUSE_NOTIFY": "json://a/x:y mailto://b",
        "WAREHOUSE_SCHEMAS": f"{tmp_path}:/",
        "WAREHOUSE_RAW_DAYS": "3",
        "WAREHOUSE_LEAST_EFFECT": "0.1",
    }
    settings = Settings.load(given)
    assert Settings.load(settings.variables()) == settings
    assert settings.notify == ("json://a/x:y", "mailto://b")


def test_a_project_gives_dbt_and_the_clients_the_cloud():
    settings = Settings.load(
        {"WAREHOUSE_PROJECT": "acme", "WAREHOUSE_LOCK_URL": "postgresql://h/db", "WAREHOUSE_LOCATION": "EU"}
    )
    output = settings.dbt_profile()["telemetry_warehouse"]["outputs"]["warehouse"]
    assert (output["method"], output["project"], output["location"]) == ("oauth", "acme", "EU")
    assert "api_endpoint" not in output
