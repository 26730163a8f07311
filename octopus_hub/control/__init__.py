"""The controller: observes truth, decides with the pure core, carries out. Every effect of the engine is here."""
