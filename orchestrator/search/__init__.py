"""Sweeps: Ray Tune and Optuna over weights, each setting judged across orders and seeds.

::

    settings  objective     pure: what is searched, what a setting is worth
    space  study            Optuna: the only state of a sweep
    searcher  pruning       Tune's side of the study
    trial                   what one trial does, in a process of its own
    tuner                   all of it together

Importing this package imports neither Ray nor Optuna.
"""
