"""Losses of dense prediction and of distillation; per image, so that workers can split a batch.

::

    supervised.py    L_new of a new task against its ground truth
    distillation.py  pixel maps of the distance between student and teacher
    had.py           HAD on those maps: distribution-balanced (DB) and salience-guided (SG)
    released.py      the same as the paper's released code computes it, for comparison
    lwf.py           learning without forgetting

Shape suffixes: B images, C channels or classes, H and W pixels, G groups of pixels.
"""
