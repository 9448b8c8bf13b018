"""What an audit did, as a paragraph for the methods section of a paper, with its sources."""

from plurality.analyses.audit.findings import Findings
from plurality.analyses.audit.slices import OVERALL


def methods(audit: Findings) -> str:
    """Every choice that the audit made, in sentences.

    audit    what was found
    """
    meta, rule = audit.meta, audit.disclosure
    by = ", ".join(meta["attributes"])
    model = f" of {meta['model']}" if meta["model"] else ""
    cell = f" ({meta['cell']})" if meta["cell"] else ""
    sliced = f" People were grouped by {by}, and by combinations of up to {meta['ways']} of these." if by else ""
    closed = " and groups from which such a one could be computed" if rule.complementary else ""
    margin = 100 * meta["margin"]
    said = [
        f"We audited predictions{model}{cell} for {meta['n_comparisons']:,} comparisons by {meta['n_users']:,} people "
        f"with plurality {meta['plurality']}.{sliced} Served was {meta['served']}; utility is the share of a person's "
        "comparisons in which the served response was preferred, averaged over people so that each counts alike.",
        f"Intervals ({meta['level']:.0%}) are percentiles over {meta['n_bootstrap']:,} resamples of people with all "
        "their comparisons, widened as Student's t is (Hesterberg 2015) and corrected for median bias for ECE, the "
        f"Kuiper ratio and measures of spread (Efron 1981); the seed was {meta['seed']}. Groups are compared with "
        "everybody, and p-values corrected within an attribute (Benjamini and Hochberg 1995).",
        f"A gap of {margin:g} points was taken to matter: where none was shown, we say whether one would have been "
        "(power 80 %; Bloom 1995), or whether it is excluded by two one-sided tests (Schuirmann 1987).",
        f"Calibration was measured on folded comparisons. Groups of fewer than {rule.min_users_show} people{closed} "
        f"were withheld; those of fewer than {rule.min_users_flag} are flagged.",
    ]
    extra = {
        "design": "People were weighted by the sampling design, whose strata and clusters, or replicate weights, give "
        "the intervals and tests of means and of their differences (Taylor linearisation, Binder 1983); other "
        "statistics draw clusters anew within strata.",
        "population": "Means were also raked to population margins (Deming and Stephan 1940).",
        "contrasts": "Groups were contrasted by Welch's t with Holm's correction and simultaneous max-t intervals.",
        "models": "Models were compared on the same comparisons, paired by person; shares of people harmed have the "
        "noise of few comparisons taken off by empirical Bayes (Morris 1983).",
        "temperature": "Temperatures are inverse slopes of logistic fits, people as clusters (Liang and Zeger 1986).",
    }
    said += [sentence for name, sentence in extra.items() if name in audit.sections]
    rows = [s.title for name, s in audit.sections.items() if name.startswith("rows_")]
    said += [f"Comparisons were also sliced {' and '.join(t[0].lower() + t[1:] for t in rows)}."] if rows else []
    hidden = audit.table.filter(audit.table["suppressed"]).select("attribute", "level").n_unique()
    shown = audit.table.filter(audit.table["attribute"] != OVERALL[0]).select("attribute", "level").n_unique()
    said += [f"Of {shown} groups {hidden} were withheld."] if shown else []
    return " ".join(said)
