"""The extension as Jupyter loads it: settings, handlers, and the end. Everything else is in the other modules."""

from __future__ import annotations

from jupyter_server.extension.application import ExtensionApp
from tornado.ioloop import IOLoop
from traitlets import Float, Integer

from octopus_hub_extension.feed import Feed
from octopus_hub_extension.lease import ServerLease
from octopus_hub_extension.pagestream import PageStream
from octopus_hub_extension.paths import PREFIX, STREAM
from octopus_hub_extension.proxy import Proxy
from octopus_hub_extension.upstream import Upstream


class OctopusExtension(ExtensionApp):
    """Proxy and stream of one Jupyter server."""

    name = "octopus_hub_extension"

    body_bytes = Integer(
        8 * 2**20,
        min=0,
        config=True,
        help="Largest body, in bytes, that is passed on to the service; its own bound for JSON is 8 MiB.",
    )
    linger_seconds = Float(
        10.0,
        min=0.0,
        config=True,
        help="The stream from the service is kept for so long after the last page went, so that a reload finds it.",
    )

    def initialize_handlers(self) -> None:
        """Add our two paths. No stream is opened before a browser asks."""
        self.upstream = Upstream()
        self.lease = ServerLease(self.upstream)
        IOLoop.current().add_callback(self.lease.start)  # once the server runs
        self.feed = Feed(self.upstream, linger_seconds=self.linger_seconds)
        self.handlers.extend(
            [
                (rf"/{STREAM}", PageStream, {"feed": self.feed}),
                (rf"/{PREFIX}(.*)", Proxy, {"upstream": self.upstream, "body_bytes": self.body_bytes}),
            ]
        )

    async def stop_extension(self) -> None:
        """Called when the server stops."""
        await self.lease.stop()
        await self.feed.close()
        await self.upstream.close()
