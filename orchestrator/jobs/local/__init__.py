"""A cluster of several nodes on this one machine: ``had cluster up --local N`` and ``down``."""
