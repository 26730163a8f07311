"""REST, streams and probes of the service on tornado; it reads the cache, and writes wishes to the backend only.

Never decides about scheduling and never talks to the controller (design, section 3). ``application.make_app`` is the
entrance; ``octopus_hub.app`` calls it.
"""
