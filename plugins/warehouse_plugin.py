"""What the warehouse adds to Airflow: the page of changes. And what it closes: descriptions of the API for anybody."""

from airflow.plugins_manager import AirflowPlugin


async def changes(scope, receive, send):
    # Every process of Airflow loads the plugins, and only the API server needs what the page needs.
    from telemetry_warehouse.web.app import app

    await app(scope, receive, send)


# Of Airflow itself, and of the applications that it mounts.
_DESCRIPTIONS = {
    f"{mounted}/{page}"
    for mounted in ("", "/execution", "/auth")
    for page in ("docs", "docs/oauth2-redirect", "redoc", "openapi.json")
}


class NoDescriptions:
    """Answers 404 where Airflow would describe its API to whoever asks, without a login."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"].rstrip("/") in _DESCRIPTIONS:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)


class WarehousePlugin(AirflowPlugin):
    name = "telemetry_warehouse"
    fastapi_apps = [{"app": changes, "url_prefix": "/changes", "name": "Changes"}]
    fastapi_root_middlewares = [{"middleware": NoDescriptions, "name": "no descriptions of the API"}]
    external_views = [{"name": "Changes", "href": "changes/", "destination": "nav", "url_route": "changes"}]
