"""What JupyterHub loads: its configuration and our spawner. Never imports the engine or the service."""
