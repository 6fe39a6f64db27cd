"""What `bench` found: as JSON, and as tables of text that any printer can lay out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .bench_measure import Measurement, Series, Workload
from .bench_plan import PlanFacts
from .bench_profile import Cost, Profile
from .stats import HeadStats
from .table import Table, size_text, threads_text

BAR_WIDTH = 30
NOTICEABLE = 0.05  # difference of two read speeds


@dataclass(frozen=True)
class Report:
    """All figures of one run; `main` is of the number of threads asked for, `sweep` of each number."""

    bundle: str
    model: Dict[str, Any]
    plan: PlanFacts
    work: Workload
    main: Measurement
    check_seconds: float  # of every file before anything is opened
    own_memory_rate: float  # bytes a second
    profiles: Sequence[Profile]
    sweep: Sequence[Measurement]
    conditions: Dict[str, Any]

    # ---- JSON ------------------------------------------------------------------------------------

    def as_json(self) -> Dict[str, Any]:
        """Nested objects; rates are medians unless their key says otherwise, sizes bytes, times seconds."""
        main, plan = self.main, self.plan
        read = main.token_bytes
        report: Dict[str, Any] = {
            "bundle": self.bundle,
            "model": self.model,
            "repetitions": self.work.repeat,
            "decode": {
                "tokens": self.work.decode,
                **_speed(main.decode),
                "bytes_per_token": read.total,
                "bytes": {"layers": read.layers, "head": read.head, "cache": read.cache},
                "roofline_tokens_per_second": main.read_rate.median / read.total,
                "roofline_fraction": main.roofline_fraction.median,
            },
            "prefill": {
                "tokens": self.work.prefill,
                **_speed(main.prefill),
                "time_to_first_token": main.first_token.median,
                "gmac_per_second": main.prefill.median * plan.ternary_weights / 1e9,
            },
            "memory": {
                "read_gb_per_second": main.read_rate.median / 1e9,
                "read_gb_per_second_std": main.read_rate.std / 1e9,
                "anonymous_read_gb_per_second": self.own_memory_rate / 1e9,
                "read_is_cached": self.is_cached,
                **main.memory,
            },
            "load": {"seconds": main.load_seconds, "check_seconds": self.check_seconds},
            "head": _head_json(main.head),
            "speculation": self._speculation_json(),
            "conditions": self.conditions,
        }
        if self.profiles:
            report["profile"] = {profile.phase: profile_json(profile) for profile in self.profiles}
        if self.sweep:
            report["sweep"] = [_sweep_json(each) for each in self.sweep]
        return report

    @property
    def _guessing_passes(self) -> int:
        """Passes over the tokens that were decoded with guesses; those without took one for each token."""
        return self.main.speculation.passes - self.work.repeat * self.work.decode

    def _speculation_json(self) -> Dict[str, Any]:
        main = self.main
        return {
            **_speed(main.speculated),
            "gain": main.gain.median,
            "drafted": main.speculation.drafted,
            "accepted": main.speculation.accepted,
            "acceptance": main.speculation.acceptance,
            "tokens_per_pass": self.work.repeat * self.work.decode / self._guessing_passes,
        }

    @property
    def is_cached(self) -> Optional[bool]:
        """Whether what decoding streams fits into the last cache: reads then are not of the memory."""
        cache = self.conditions["last_level_cache_bytes"]
        return None if cache is None else self.plan.streamed_bytes < cache

    # ---- tables ----------------------------------------------------------------------------------

    def tables(self) -> List[Table]:
        tables = [self._speed_table(), self._facts_table(), conditions_table(self.conditions)]
        tables += [profile_table(profile) for profile in self.profiles]
        if self.sweep:
            tables.append(_sweep_table(self.sweep))
        return tables

    def _speed_table(self) -> Table:
        work, main = self.work, self.main
        rows = [
            _speed_row(f"prefill, {work.prefill} tokens", main.prefill),
            _speed_row(f"decode, {work.decode} tokens", main.decode),
            _speed_row("  with guesses", main.speculated),
        ]
        title = f"{self.model.get('name', self.bundle)}: {threads_text(main.threads)}, {main.tier}"
        return Table(title, ("", "tokens/s", "mean", "std", "ms/token"), rows)

    def _facts_table(self) -> Table:
        main, plan = self.main, self.plan
        size = main.token_bytes
        read = f"{main.read_rate.median / 1e9:.1f} GB/s"
        own = self.own_memory_rate / 1e9
        if self.is_cached:
            read += " (the weights fit into the last cache)"
        if abs(self.own_memory_rate / main.read_rate.median - 1) > NOTICEABLE:
            read += f"; other memory {own:.1f} GB/s"
        roofline = f"{main.read_rate.median / size.total:.1f} tokens/s"
        parts = ((size.layers, "layers"), (size.head, "head"), (size.cache, "KV cache"))
        rows = [
            ("time to first token", f"{main.first_token.median:.3f} s"),
            ("load", f"{main.load_seconds * 1e3:.1f} ms, after {self.check_seconds * 1e3:.1f} ms of checks"),
            ("prefill work", f"{main.prefill.median * plan.ternary_weights / 1e9:.1f} GMAC/s"),
            ("memory", resident(main.memory)),
            ("bytes per token", f"{size_text(size.total)}: {_sum(parts)}"),
            ("head", _head(main.head)),
            ("guesses", _guesses(main)),
            ("read speed", read),
            ("roofline", f"{roofline}; decode reaches {_percent(main.roofline_fraction.median)}"),
        ]
        return Table("", ("", ""), rows, left=(0, 1))


# ---- rows --------------------------------------------------------------------------------------------


def _speed(series: Series) -> Dict[str, float]:
    return {
        "tokens_per_second": series.median,
        "tokens_per_second_mean": series.mean,
        "tokens_per_second_std": series.std,
        "ms_per_token": 1e3 / series.median,
    }


def _speed_row(name: str, series: Series) -> Tuple[str, ...]:
    figures = (series.median, series.mean, series.std)
    return (name, *(f"{figure:.1f}" for figure in figures), f"{1e3 / series.median:.2f}")


def _head_json(stats: HeadStats) -> Dict[str, Any]:
    """How tokens were found in all repetitions; means over the screened ones."""
    screened = stats.queries - stats.fallbacks
    return {
        "screened_tokens": stats.queries,
        "fallbacks": stats.fallbacks,
        "full_passes": stats.full_passes,
        "survivors_per_token": stats.survivors / screened if screened else None,
        "refined_per_token": stats.refined_rows / screened if screened else None,
        "rows_per_token": stats.computed_rows / screened if screened else None,
    }


def profile_json(profile: Profile) -> Dict[str, Any]:
    steps = [
        {
            "kernel": cost.step.kernel,
            "label": cost.step.label,
            "calls": cost.calls,
            "seconds": cost.seconds,
            "weight_bytes": cost.step.weight_bytes,
            "macs": cost.macs,
        }
        for group in profile.kernels
        for cost in group
    ]
    return {profile.unit: profile.tokens, "seconds": profile.seconds, "outside": profile.rest, "steps": steps}


def conditions_table(facts: Dict[str, Any]) -> Table:
    """On what a measurement was made (`bench_conditions.conditions`)."""
    load = facts["load_average"]
    note = " (other programs are running: the figures are of what they leave)" if facts["busy"] else ""
    share = f"{_percent(facts['cpu_share'])} of what {threads_text(facts['threads'])} can use"
    rows = [
        ("CPU", f"{facts['cpu'] or 'unknown'}, {facts['cpus']} usable"),
        ("board", facts["board"]),
        ("governor", facts["governor"]),
        ("huge pages", facts["huge_pages"]),
        ("load average", " ".join(f"{each:.2f}" for each in load) + note if load else None),
        ("processor time", share),
        ("versions", ", ".join(f"{name} {value}" for name, value in facts["versions"].items())),
    ]
    return Table("", ("", ""), [(name, text) for name, text in rows if text], left=(0, 1))


def profile_table(profile: Profile) -> Table:
    rows: List[Tuple[str, ...]] = []
    for group in profile.kernels:
        rows.append(_cost_row(group[0].step.kernel, group, profile, bar=True))
        if len(group) > 1:
            rows += [_cost_row(f"  {cost.step.label}", [cost], profile, bar=False) for cost in group]
    rest = profile.rest
    rows.append(("outside the steps", "", *_time(rest, profile), "", "", _bar(rest / profile.seconds)))
    title = f"profile of {profile.phase}: {profile.tokens} {profile.unit} in {profile.seconds * 1e3:.1f} ms"
    return Table(title, ("kernel", "calls", "ms", "share", "GB/s", "GMAC/s", ""), rows, left=(0, 6))


def _cost_row(name: str, costs: Sequence[Cost], profile: Profile, bar: bool) -> Tuple[str, ...]:
    seconds = sum(cost.seconds for cost in costs)
    read, macs = sum(cost.read_bytes for cost in costs), sum(cost.macs for cost in costs)
    speeds = (f"{work / seconds / 1e9:.1f}" if work and seconds else "" for work in (read, macs))
    calls = str(sum(cost.calls for cost in costs))
    return (name, calls, *_time(seconds, profile), *speeds, _bar(seconds / profile.seconds) if bar else "")


def _time(seconds: float, profile: Profile) -> Tuple[str, str]:
    return f"{seconds * 1e3:.2f}", _percent(seconds / profile.seconds)


def _bar(share: float) -> str:
    return "#" * round(max(share, 0.0) * BAR_WIDTH)


def _sweep_json(each: Measurement) -> Dict[str, Any]:
    return {
        "threads": each.threads,
        "decode": {**_speed(each.decode), "roofline_fraction": each.roofline_fraction.median},
        "prefill": _speed(each.prefill),
        "memory": {"read_gb_per_second": each.read_rate.median / 1e9},
    }


def _sweep_table(sweep: Sequence[Measurement]) -> Table:
    rows = [
        (
            str(each.threads),
            f"{each.prefill.median:.1f}",
            f"{each.decode.median:.1f}",
            f"{each.read_rate.median / 1e9:.1f}",
            _percent(each.roofline_fraction.median),
        )
        for each in sweep
    ]
    columns = ("threads", "prefill tokens/s", "decode tokens/s", "GB/s", "of roofline")
    return Table("threads", columns, rows, left=())


# ---- words -------------------------------------------------------------------------------------------


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _sum(parts: Sequence[Tuple[float, str]]) -> str:
    return " + ".join(f"{size_text(size)} {name}" for size, name in parts)


def _head(stats: HeadStats) -> str:
    screened = stats.queries - stats.fallbacks
    if not stats.queries:
        return "all logits for every token"
    survivors = f"{stats.survivors / screened:.1f} survivors of screening a token, " if screened else ""
    if stats.refined_rows and screened:
        survivors = f"{stats.refined_rows / screened:.1f} rows screened again and {survivors}"
    return f"{survivors}{stats.fallbacks} of {stats.queries} tokens fell back to all logits"


def _guesses(main: Measurement) -> str:
    found = main.speculation
    if not found.drafted:
        return "none was worth trying"
    return f"{found.accepted} of {found.drafted} right, {main.gain.median:.2f} times the speed of decode"


def resident(memory: Dict[str, Optional[int]]) -> str:
    now, peak = memory["rss_bytes"], memory["peak_rss_bytes"]
    if now is None or peak is None:
        return "unknown on this system"
    huge = f", {size_text(memory['huge_page_bytes'])} on huge pages" if memory["huge_page_bytes"] else ""
    return f"{size_text(now)} resident{huge}, at most {size_text(peak)}"
