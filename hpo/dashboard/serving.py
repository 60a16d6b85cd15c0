"""optuna-dashboard over one database, behind the guard, served by waitress."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hpo.dashboard.answering import Answering
from hpo.dashboard.guard import LOOPBACK_NAMES, Guard, Policy
from hpo.dashboard.hiding import HidesWriting
from hpo.dashboard.login import Login
from hpo.dashboard.renaming import KeepsNames
from hpo.dashboard.stopping import StopsStudies
from hpo.errors import UsageError
from hpo.settings import Settings

__all__ = ["Dashboard", "is_loopback", "reachable"]

MOST_BYTES = {True: 64 << 20, False: 1 << 20}
"""The largest request, by whether it may write (artifacts come as base64): waitress reads it before the guard does."""


class Dashboard:
    """A dashboard that listens as soon as it is made; `serve` answers until it is interrupted.

    On a loopback address it needs no login, and studies can be changed. On any other it needs `login`, and is read-only
    unless `writable`. Port 0 takes a free one. Raises UsageError for a missing login or a port in use, StorageError for
    the database.
    """

    def __init__(
        self,
        storage: str | None,
        settings: Settings,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        login: Login | None = None,
        writable: bool = False,
    ) -> None:
        own_machine = is_loopback(host)
        if login is None and not own_machine:
            raise UsageError(
                f"the dashboard would be open to everybody who reaches {host}",
                evidence=["without a login anybody there could delete studies"],
                next="add --auth USER with a password in HPO_DASHBOARD_PASSWORD; or leave --host out and reach it "
                "through `ssh -L 8080:127.0.0.1:8080 this-machine`",
            )
        policy = Policy(login, writable=writable or own_machine, names=(*LOOPBACK_NAMES, host.lower()))
        self.writable = policy.writable
        self._map: dict[int, Any] = {}
        guarded = Guard(_application(storage, settings, writable=policy.writable), policy)
        self._server = _listen(guarded, host, port, self._map, MOST_BYTES[policy.writable], login)
        self._serving = False
        self.port = int(self._server.effective_port)
        named = reachable(host)
        self.url = f"http://{f'[{named}]' if ':' in named else named}:{self.port}/dashboard"

    def serve(self) -> None:
        """Answer requests until `close`, or until a KeyboardInterrupt, which ends it quietly."""
        self._serving = True
        self._server.run()

    def close(self) -> None:
        """Free the port after the current requests are answered. Any thread may call it."""
        if self._serving:
            with suppress(OSError):  # closed already
                self._server.trigger.pull_trigger(self._stop)
        else:
            self._stop()

    def _stop(self) -> None:
        from waitress import wasyncore

        self._server.task_dispatcher.shutdown()
        wasyncore.close_all(self._map)  # an empty map ends the loop of `serve`


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than localhost may mean any address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reachable(host: str) -> str:
    """What others call `host`: where that means every address of this machine, the one that it sends from."""
    try:
        unspecified = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host
    if not unspecified:
        return host
    family, far = (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((far, 9))  # chooses a route and sends nothing
        return str(probe.getsockname()[0])
    return socket.gethostname()


def _application(storage: str | None, settings: Settings, *, writable: bool) -> Callable[..., Any]:
    import optuna_dashboard
    from optuna.storages import RDBStorage, get_storage
    from sqlalchemy.engine import make_url

    from hpo.results.reading import open_for_reading
    from hpo.storage.artifacts import artifact_store
    from hpo.storage.engine import open_engine, resolve_url
    from hpo.storage.schema import ensure_schema, knows_installed_optuna

    url = resolve_url(settings, storage, write=False)
    if make_url(url).get_backend_name() == "postgresql" and knows_installed_optuna():
        engine = open_engine(url, application_name="hpo dashboard")
        ensure_schema(engine)  # an empty database crashes the dashboard (optuna-dashboard #469)
    else:
        engine = open_for_reading(url, settings)
    # It uses the engine's own pool, so that its limits and timeouts hold for the dashboard's threads too.
    reader = RDBStorage(
        engine.url.render_as_string(hide_password=False),
        engine_kwargs={"pool": engine.pool},
        skip_table_creation=True,
    )
    # get_storage wraps it in Optuna's cache: finished trials are read once, not each time a browser refreshes.
    kept = get_storage(reader)
    application: Callable[..., Any] = optuna_dashboard.wsgi(kept, artifact_store=artifact_store(settings))
    application = Answering(KeepsNames(application, engine), engine, stops=writable)
    return StopsStudies(application, engine) if writable else HidesWriting(application)


def _listen(
    application: Callable[..., Any],
    host: str,
    port: int,
    channels: dict[int, Any],
    most_bytes: int,
    login: Login | None,
) -> Any:
    import waitress

    from hpo.dashboard.connections import LOOKED_AFTER_SECONDS, bound

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error}",
            next="give another --host or --port; --port 0 takes a free one",
        ) from error
    server = waitress.create_server(
        application,
        map=channels,
        sockets=[listening],
        threads=4,
        ident="hpo",
        clear_untrusted_proxy_headers=True,
        max_request_body_size=most_bytes,
        connection_limit=1000,  # connections.py has a lower limit, and never stops listening
        cleanup_interval=LOOKED_AFTER_SECONDS,
        asyncore_use_poll=True,
    )
    bound(server, login)
    return server
