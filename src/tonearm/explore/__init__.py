"""The explorer: a finished run to look into by browser, on this machine alone unless asked otherwise."""

import gc
import socket
import threading
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route

from tonearm.errors import ConfigError, DataError
from tonearm.explore.site import Site
from tonearm.kernels.machine.threads import blas_threads
from tonearm.terminal.printing import say

__all__ = ["app", "serve"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def app(
    run_dir: Path | str,
    against: Path | str | None = None,
    *,
    hosts: tuple[str, ...] = ("*",),
) -> Starlette:
    """An ASGI app that shows a run; it may be mounted below any path.

    against: a run to compare it with
    hosts: names that requests may address it by, so that no other site's page can read it through the browser

    Raises:
        DataError: a folder is not a finished run.
    """
    site = Site(Path(run_dir), None if against is None else Path(against))
    pages = {
        "/": site.home,
        "/search": site.search,
        "/random": site.lucky,
        "/listener/{user}": site.listener,
        "/track/{item}": site.track,
        "/why": site.ask,
        "/why/{user}/{item}": site.why,
        "/compare": site.compare,
        "/report": site.report,
        "/assets/{name:path}": site.asset,
    }
    application = Starlette(
        routes=[Route(path, page) for path, page in pages.items()],
        exception_handlers={404: site.not_found, DataError: site.unreadable},
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
    )
    threading.Thread(target=site.models.warm, daemon=True).start()
    return application


def serve(
    run_dir: Path,
    against: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
) -> None:
    """Answer until it is stopped.

    host: another than a loopback address lets other machines in
    port: 0 takes a free one; where it is, is printed

    Raises:
        ConfigError: the address cannot be used.
        DataError: a folder is not a finished run.
    """
    local = host in LOOPBACK
    application = app(run_dir, against, hosts=(*LOOPBACK, "[::1]") if local else ("*",))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"{host}, port {port}: cannot be used ({error}). Choose another --port (0 takes a free one) or --host."
        ) from error
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    say(f"Explorer: http://{shown}:{listening.getsockname()[1]}/ (Ctrl-C stops it)")
    if not local:
        say("Whoever reaches this address reads what every listener played.")
    # one thread a page: the matrices are small, and threads that wait for one another cost more than they compute
    with listening, blas_threads(1):
        thresholds = gc.get_threshold()
        # more objects than a page makes and drops, as it takes .1 s to look through all that is loaded for rings
        gc.set_threshold(100_000)
        try:
            uvicorn.Server(uvicorn.Config(application, log_level="warning")).run(sockets=[listening])
        except KeyboardInterrupt:
            say("Stopped.")
        finally:
            gc.set_threshold(*thresholds)
