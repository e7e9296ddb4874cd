"""What the warehouse adds to Airflow: the page of changes."""

from airflow.plugins_manager import AirflowPlugin


async def changes(scope, receive, send):
    # Every process of Airflow loads the plugins, and only the API server needs what the page needs.
    from telemetry_warehouse.web.app import app

    await app(scope, receive, send)


class WarehousePlugin(AirflowPlugin):
    name = "telemetry_warehouse"
    fastapi_apps = [{"app": changes, "url_prefix": "/changes", "name": "Changes"}]
    external_views = [{"name": "Changes", "href": "changes/", "destination": "nav", "url_route": "changes"}]
