"""An audit as one HTML page that carries everything it shows and asks nothing of the network."""

from base64 import b64encode
from collections.abc import Sequence

from plurality.analyses.audit.audit_readout import OVERALL_HEAD, WORST_HEAD
from plurality.analyses.audit.findings import Findings
from plurality.analyses.audit.metrics import ALL_METRICS
from plurality.analyses.audit.page_views import published, views_of
from plurality.analyses.audit.verdict import heading, overall_lines, verdict, withheld_slices, worst_lines
from plurality.analyses.page.explorer import Explorer, Labels, render


def html(audit: Findings, svg: dict[str, bytes], labels: Labels | None = None, beside: Sequence[Findings] = ()) -> str:
    """The page of an audit.

    audit     what was found
    svg       its figures by name
    labels    {language: {word: label}} that a reader may choose
    beside    audits of other models and cells, that a reader may choose
    """
    hidden = _withheld(audit)
    meta = audit.meta
    content = {
        "model": meta["model"],
        "heading": heading(audit),
        "verdict": verdict(audit),
        "notes": audit.notes,
        "pictures": {name: "data:image/svg+xml;base64," + b64encode(drawn).decode() for name, drawn in svg.items()},
        "sections": audit.sections.values(),
        "metrics": ALL_METRICS,
        "overall_head": OVERALL_HEAD,
        "overall": overall_lines(audit),
        "worst_head": WORST_HEAD,
        "worst": worst_lines(audit),
        "withheld": hidden,
        "withheld_count": sum(len(levels) for _, levels in hidden),
        "level": f"{meta['level']:.0%}",
        "n_bootstrap": meta["n_bootstrap"],
        "seed": meta["seed"],
        "served": meta["served"],
        "version": meta["plurality"],
        "min_users_flag": audit.disclosure.min_users_flag,
        "min_users_show": audit.disclosure.min_users_show,
    }
    return render(
        "analyses/audit/report.html.jinja",
        Explorer(views_of([published(one) for one in (audit, *beside)]), labels or {}),
        content,
    )


def _withheld(audit: Findings) -> list[tuple[str, list[str]]]:
    """Attributes with the names of their withheld levels."""
    grouped = withheld_slices(audit).group_by("attribute", maintain_order=True).agg("level")
    return [(str(attribute), list(levels)) for attribute, levels in grouped.iter_rows()]
