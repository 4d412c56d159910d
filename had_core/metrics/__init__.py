"""Metrics: meters of one task on one split, and what a whole sequence makes of them.

::

    meters.py    one meter a task kind, pooled exactly over pixels, additive over ranks
    constant.py  the same meters fed with the best constant prediction
    lifelong.py  the R matrix and Delta_m, forgetting, BWT, plasticity, mean rank
"""
