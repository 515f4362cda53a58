"""The verb ``lowerbound studio``: it serves the page on this machine until it is stopped."""

import os
import socket
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from lowerbound.errors import UsageError
from lowerbound.verbs import say

if TYPE_CHECKING:
    from lowerbound import cli

HOST = "127.0.0.1"
PORTS = range(8765, 8775)  # tried one after the other, so that a page finds its studio again where it was


def studio(args: "cli.Studio") -> None:
    """Serve the runs of a folder."""
    try:
        import uvicorn

        from lowerbound.studio.app import application
        from lowerbound.studio.guard import Guard
        from lowerbound.studio.state import Studio
    except ImportError as error:
        raise UsageError(
            f"The studio needs {error.name}, which is not installed: pip install 'lowerbound[studio]'"
        ) from None
    folder = Path(args.folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give the folder that holds the runs, such as runs.")
    with bound(args.port) as place:
        served = Studio(folder)
        guard = Guard(application(served), place.getsockname()[1])
        say(f"The studio of {folder.absolute()}: open this link, which lets one browser in.\n\n  {guard.link}\n")
        say("Ctrl-C ends it; trainings that were started from it go on.")
        config = uvicorn.Config(
            guard, log_level="warning", ws="none", lifespan="off", proxy_headers=False, server_header=False,
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        served.ending = lambda: server.should_exit
        if args.browser and _has_screen():
            webbrowser.open(guard.link)
        server.run(sockets=[place])


def bound(port: int | None) -> socket.socket:
    """Take a port of this machine: the one that is asked for, or else the first that is free."""
    for one in PORTS if port is None else (port,):
        place = socket.socket(proto=socket.IPPROTO_TCP)  # asyncio sends at once over what says it is TCP: else 40 ms
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((HOST, one))
            place.listen()  # now: the link is printed, and a browser opened, before the server takes what has come
        except OSError:
            place.close()
            continue
        return place
    if port is not None:
        raise UsageError(f"Port {port} is taken by another program: give another --port, or none.")
    raise UsageError(f"The ports {PORTS[0]} to {PORTS[-1]} are all taken: give another, --port N.")


def _has_screen() -> bool:
    return os.name != "posix" or os.uname().sysname == "Darwin" or bool(os.environ.get("DISPLAY"))
