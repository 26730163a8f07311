"""What would have happened: jobs run through the production scheduler in simulated time.

Readers (``philly``, ``openb``, ``history``, found by ``sources``) and ``generate`` give jobs, ``parts`` cuts them,
``setup`` says on what they run. ``events`` runs them (``board`` is what the scheduler sees, ``pool`` what is held where,
``life`` one job), ``outcome`` is what that gives; ``report`` counts, ``series`` and ``plots`` draw, ``compare`` does it
for several setups at once. No threads; what is drawn comes from a seed: the same again gives the same. Called by
``octopus simulate`` and the benchmarks.
"""
