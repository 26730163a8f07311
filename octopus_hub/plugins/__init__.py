"""Plug-ins: frameworks, devices and storage kinds as data, and hooks in any language.

``registry`` loads and checks the YAML, ``discovery`` looks for devices, ``hooks`` asks programs and HTTP endpoints.
May read files, start programs and use the network; knows the model only. Used by service, engine and ``octopus plan``.
"""
