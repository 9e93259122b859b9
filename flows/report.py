"""The report of a deployed run: which stages were made or found, how long they took, and how that compares with the asset's length."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.summary import AssetResult
    from tasks.stage import Event


class Report:
    """Hears the events of one asset and writes them down as Markdown.

    It holds no faces and no names of people: Prefect's database knows no `forget`. It links to the pages, which show them as long as they may.

    Args:
        pages_url: where the pages are; None: not known.
    """

    def __init__(self, pages_url: str | None = None) -> None:
        self._pages = pages_url
        self.duration = 0.0  # seconds of media
        self._stages: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._seconds: dict[str, float] = defaultdict(float)

    def __call__(self, event: Event) -> None:
        """Hear an event."""
        if event.kind == "stage":
            self._stages[event.stage][event.outcome] += 1
            self._seconds[event.stage] += event.seconds
        elif event.kind == "progress":
            self.duration = max(self.duration, event.total)

    def markdown(self, result: AssetResult) -> str:
        """Return the report of how the asset ended."""
        lines = [f"# {_plain(result.name)}", "", f"**{result.state}**{f': {_plain(result.reason)}' if result.reason else ''}", ""]
        if result.sha256 and self._pages is not None and result.state in {"done", "skipped"}:
            page = f"{self._pages}/assets/{result.sha256}"
            lines += [f"[![Who is in it]({page}/people)]({page})", ""]
        if result.sha256:
            lines += [f"SHA-256 `{result.sha256}`. Who speaks when: `rollcall turns {result.sha256[:12]}`.", ""]
        if self._stages:
            lines += ["| stage | made | reused | failed | seconds |", "|---|--:|--:|--:|--:|"]
            for stage, outcomes in self._stages.items():
                lines.append(f"| {stage} | {outcomes['made']} | {outcomes['cached']} | {outcomes['failed']} | {self._seconds[stage]:.2f} |")
        lines += ["", f"{result.made} made, {result.cached} reused, {result.seconds:.1f} s{self._pace(result.seconds)}"]
        return "\n".join(lines)

    def _pace(self, seconds: float) -> str:
        if not self.duration or not seconds:
            return ""
        return f" for {self.duration:.1f} s of media: {self.duration / seconds:.2f} x real time"


def _plain(text: str) -> str:
    """Return text that no Markdown is made of: names come from outside."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+-!|<>&~" else letter for letter in " ".join(text.split()))
