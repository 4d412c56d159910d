"""The open book: what a store tells about its stages and runs, and what is done with it.

Trains nothing. Looking (runs, show, explain) writes nothing either and works on a store that one
may not write to; a damaged artefact is set aside where that is possible. The rest writes what it is
for: ``syncing`` into MLflow, ``dropping`` and ``collecting`` into the store.

Looking answers fast on big stores: no torch, Ray or MLflow is imported where a key is enough.
"""
