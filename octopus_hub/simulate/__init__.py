"""What would have happened: a trace of jobs run through the production scheduler in simulated time.

``philly`` reads a trace, ``events`` runs it, ``report`` counts. No clock, no threads, no randomness: the same trace and
settings give the same result. Called by ``octopus simulate``.
"""
