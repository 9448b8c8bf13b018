"""The audit in a terminal and in a notebook."""

from plurality.analyses.audit.findings import Findings
from plurality.analyses.audit.readout import Grid, Readout
from plurality.analyses.audit.verdict import heading, overall_lines, verdict, worst_lines

OVERALL_HEAD = ("Metric", "estimate", "interval", "by chance", "p")
WORST_HEAD = ("Attribute", "worst group", "users", "utility", "interval", "shrunk", "P(worst)")


def readout(audit: Findings) -> Readout:
    """Verdict, metrics over all users, worst groups, notes."""
    tables = (Grid(OVERALL_HEAD, overall_lines(audit), (0,)), Grid(WORST_HEAD, worst_lines(audit), (0, 1)))
    return Readout("Audit", heading(audit), verdict(audit), tables, audit.notes)
