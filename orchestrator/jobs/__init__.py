"""Jobs on a cluster through Ray's Jobs API: ship, submit, follow, stop; a cluster to try it on.

::

    spec ─> shipping ─> submitting ─> client ══ HTTP ══> the cluster's dashboard ─> the job
                        following  <─ wire lines <═══════════════════════════════ its log
    local/              N nodes on this machine (had cluster up)

The token travels in a header and nowhere else. What the job does is not known here: it is the
command that ``orchestrator.cli.job`` dispatches.
"""
