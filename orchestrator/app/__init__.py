"""What the commands do, without a terminal: config in, frozen result out.

::

    config ─> datasets ─> planning ─> execution ─> results
                             (store)    (journal ─> MLflow)
"""
