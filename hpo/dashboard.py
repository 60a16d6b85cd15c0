"""optuna-dashboard over one database, served by waitress, for whoever may reach the port."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from hpo.errors import UsageError
from hpo.settings import Settings

__all__ = ["Dashboard"]


class Dashboard:
    """A dashboard that listens once made; `serve` answers until it is interrupted.

    The dashboard has no login of its own and can delete studies, so it listens on a loopback address only. Port 0
    takes a free one. Raises UsageError for another address or a port in use, StorageError for the database.
    """

    def __init__(self, storage: str | None, settings: Settings, *, host: str = "127.0.0.1", port: int = 8080) -> None:
        refuse_unless_loopback(host)
        self._server = _listen(_application(storage, settings), host, port)
        self.port = int(self._server.effective_port)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/dashboard"

    def serve(self) -> None:
        """Answer requests until `close`, or until a KeyboardInterrupt, which ends it quietly."""
        self._server.run()

    def close(self) -> None:
        self._server.close()


def refuse_unless_loopback(host: str) -> None:
    """UsageError unless only this machine can reach `host`."""
    if host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UsageError(
            f"the dashboard has no login, so it does not listen on {host}",
            evidence=["whoever reaches it can delete studies"],
            next="leave --host out and reach it through `ssh -L 8080:127.0.0.1:8080 this-machine`",
        )


def _application(storage: str | None, settings: Settings) -> Callable[..., Any]:
    import optuna_dashboard
    from optuna.storages import RDBStorage, get_storage
    from sqlalchemy.engine import make_url

    from hpo.reading import open_for_reading
    from hpo.storage.artifacts import artifact_store
    from hpo.storage.engine import open_engine, resolve_url
    from hpo.storage.schema import ensure_schema

    url = resolve_url(settings, storage, write=False)
    if make_url(url).get_backend_name() == "postgresql":
        engine = open_engine(url, application_name="hpo dashboard")
        ensure_schema(engine)  # an empty database crashes the dashboard (optuna-dashboard #469)
    else:
        engine = open_for_reading(url, settings)
    # Over the engine's own pool, so that its limits and timeouts hold for the dashboard's threads too.
    reader = RDBStorage(
        engine.url.render_as_string(hide_password=False),
        engine_kwargs={"pool": engine.pool},
        skip_table_creation=True,
    )
    # get_storage wraps it in Optuna's cache: finished trials are read once, not at every refresh of a browser.
    kept = get_storage(reader)
    application: Callable[..., Any] = optuna_dashboard.wsgi(kept, artifact_store=artifact_store(settings))
    return application


def _listen(application: Callable[..., Any], host: str, port: int) -> Any:
    import waitress

    try:
        return waitress.create_server(
            application, host=host, port=port, threads=4, ident="hpo", clear_untrusted_proxy_headers=True
        )
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            next="give another --port; --port 0 takes a free one",
        ) from error
    except ValueError as error:
        raise UsageError(f"cannot listen on {host} port {port}: {error}", next="give a port from 0 to 65535") from error
