"""The open book: what a store tells about its stages and runs. Reads; trains and writes nothing.

Answers fast on big stores: no torch, Ray or MLflow is imported where a key is enough.
"""
