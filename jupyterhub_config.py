"""The hub of the workbench; `octopus up` starts it with this file's packaged twin.

Add your own settings above the call: `configure` merges into them. See docs/how-to/configure-the-hub.md.
"""

from octopus_hub.hub.configure import configure

c = get_config()  # noqa: F821  (JupyterHub defines it)
configure(c)
