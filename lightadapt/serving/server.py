"""`serve`, and a server for the time of a block."""

from __future__ import annotations

import errno
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightadapt.errors import LightAdaptError
from lightadapt.serving.logs import log, logging_to
from lightadapt.serving.settings import KEYS, Settings, keys_of

PATIENCE = 30.0
"""Seconds that a server in a thread may take to begin."""


def serve(
    adaptations: Mapping[str, str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    base: Any = None,
    quantize: Any = None,
    dtype: Any = "auto",
    device: Any = "auto",
    max_wait_ms: float = 2.0,
    batch_records: int = 256,
    decode_tokens: int = 16_384,
    queue_records: int = 4_096,
    request_records: int = 1_024,
    timeout: float = 60.0,
    max_new_tokens: int = 1_024,
    max_loaded: int | None = None,
    adapters: str | Path | None = None,
    feedback: str | Path | None = None,
) -> None:
    """Answer over HTTP with saved adaptations, until the process is told to stop; requests in work are finished then.

    Adaptations of one base share its weights and are computed together. `POST /predict/{name}` with
    `{"inputs": […]}` gives `{"predictions": […]}`, as `predict` does. Nothing in a folder is run. Needs
    `pip install 'lightadapt[serve]'`. The environment variable LIGHTADAPT_API_KEYS has the keys that requests need.

    Args:
        adaptations: `{name: folder}`; the names are those that requests use.
        host: the address to listen on; by default only this machine can ask.
        port: 0 takes one that is free.
        base: where the base model is now, when not where it was; for all of them.
        quantize: as in `load`.
        dtype: as in `load`.
        device: as in `load`.
        max_wait_ms: how long a request waits for others to be computed with.
        batch_records: the most records that are computed together.
        decode_tokens: the most tokens that texts which are written at once can come to, with their prompts.
        queue_records: the most records that wait; a request beyond is answered with 429.
        request_records: the most records of one request.
        timeout: seconds after which a request is given up.
        max_new_tokens: the most tokens that a request may have generated.
        max_loaded: the most adaptations of a base that are in memory. The others are loaded when they are asked for,
            and the one that was used longest ago makes room. None: all are loaded at the start.
        adapters: the folder from which adaptations may be added while the server runs; None: none can be.
        feedback: the folder for corrections, one file for each adaptation; None: they are not taken.

    Raises:
        LightAdaptError: the port is taken, a name or a setting cannot be used, or a package is missing.
        ArtifactError: a folder cannot be loaded.
    """
    settings = Settings(
        host=host,
        port=port,
        max_wait_ms=max_wait_ms,
        batch_records=batch_records,
        decode_tokens=decode_tokens,
        queue_records=queue_records,
        request_records=request_records,
        timeout=timeout,
        max_new_tokens=max_new_tokens,
        max_loaded=max_loaded,
        adapters=None if adapters is None else Path(adapters),
        feedback=None if feedback is None else Path(feedback),
        keys=keys_of(),
    )
    how = {"base": base, "quantize": quantize, "dtype": dtype, "device": device}
    with logging_to(sys.stderr), _server(adaptations, settings, **how) as (server, bound):
        bound.listen(2_048)  # so that who reads that it is ready can connect
        if not settings.is_local and not settings.keys:
            told = f"Everybody who reaches {settings.host} can ask: {KEYS} is not set."
            log.warning("open to all", extra={"facts": {"host": settings.host, "message": told}})
        log.info("ready", extra={"facts": {"address": _address(bound), "adapters": list(adaptations)}})
        server.run(sockets=[bound])


@contextmanager
def running(adaptations: Mapping[str, str | Path], settings: Settings | None = None, **how: Any) -> Iterator[str]:
    """A server in a thread of this process inside a `with` block, which is given its address.

    Args:
        settings: None: those of `serve`, on a port that is free.
        how: options of `lightadapt.load` that say how a base is loaded.

    Raises:
        LightAdaptError: as for `serve`.
    """
    with _server(adaptations, settings or Settings(port=0), **how) as (server, bound):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="lightadapt-server", daemon=True)
        thread.start()
        end = time.monotonic() + PATIENCE
        while not server.started and thread.is_alive() and time.monotonic() < end:
            time.sleep(0.01)
        if not server.started:
            raise LightAdaptError(f"The server at {_address(bound)} did not begin to answer.")
        try:
            yield _address(bound)
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def _server(
    adaptations: Mapping[str, str | Path], settings: Settings, **how: Any
) -> Iterator[tuple[Any, socket.socket]]:
    """A server that is ready to run, and the socket that it is to listen on; its engines end after the block.

    The address is taken before anything is loaded, which takes longer.
    """
    _require_packages()
    from uvicorn import Config, Server

    from lightadapt.serving.app import make_app
    from lightadapt.serving.catalogue import Catalogue, check_names
    from lightadapt.serving.metrics import Metrics

    check_names(adaptations)
    with _bind(settings) as bound:
        metrics = Metrics()
        catalogue = Catalogue(settings, metrics)
        try:
            catalogue.load(adaptations, **{name: value for name, value in how.items() if value is not None})
            config = Config(
                make_app(catalogue, settings, metrics),
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=int(settings.timeout) + 1,
            )
            yield Server(config), bound
        finally:
            catalogue.stop(settings.timeout)


def _require_packages() -> None:
    """Raise unless the packages are installed that a server needs.

    Raises:
        LightAdaptError: which is missing.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise LightAdaptError(
            f"serve needs the package {error.name}, which is not installed. Install it: pip install 'lightadapt[serve]'"
        ) from error


def _bind(settings: Settings) -> socket.socket:
    """A socket at the address of the settings.

    Raises:
        LightAdaptError: the address is taken, or is none of this machine.
    """
    where = f"host={settings.host!r}, port={settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Named, since asyncio sends small answers at once (TCP_NODELAY) only where a socket says that it is TCP's.
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise LightAdaptError(f"{where}: this address cannot be found ({error}). Give one of this machine.") from error
    try:
        if sys.platform != "win32":  # there it would let two programs have one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise LightAdaptError(
                f"{where}: another program listens there already. Choose another port; 0 takes one that is free."
            ) from error
        raise LightAdaptError(f"{where} cannot be used ({error.strerror}). Choose another.") from error
    return bound


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
