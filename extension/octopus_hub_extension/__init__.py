"""The Jupyter server extension: proxy to the service, one WebSocket per page."""
