"""`bench.py` of a bundle: its figures belong together, it needs only Python, and refuses in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgebit.runtime import ContextFullError, RuntimeModelError, bench_conditions
from edgebit.runtime.bench import Options, bench
from edgebit.runtime.bench_conditions import conditions
from edgebit.runtime.bench_measure import Series, choose_workload, prompt_tokens
from edgebit.runtime.bench_plan import read_plan
from edgebit.runtime.bench_report import Report
from edgebit.runtime.engine import Engine
from edgebit.runtime.stats import HeadStats
from edgebit.runtime.table import Table, text_of
from tests.runtime.builders import CONTEXT
from tests.runtime.test_hosts import interpreters
from tests.runtime.toy_bundle import PLAN, SPECIAL

ALONE = ("-S", "-s", "-E")  # no site-packages, no variables: the standard library alone


def run(bundle: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *ALONE, str(bundle / "bench.py"), *arguments],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def measured(bundle: Path, **options: Any) -> Report:
    return bench(bundle, Options(**{"threads": 2, "repeat": 2, **options}), lambda text: None)


@pytest.fixture(scope="module")
def report(toy_bundle: Path) -> Report:
    return measured(toy_bundle, prefill=20, decode=12, profile=True, sweep=True)


# ---- figures -------------------------------------------------------------------------------------


def test_the_json_has_the_promised_keys_and_the_figures_belong_together(report: Report) -> None:
    found = json.loads(json.dumps(report.as_json()))
    decode, prefill, memory = found["decode"], found["prefill"], found["memory"]
    assert (decode["tokens"], prefill["tokens"], found["repetitions"]) == (12, 20, 2)
    assert decode["tokens_per_second"] > 0 and prefill["tokens_per_second"] > 0
    assert memory["read_gb_per_second"] > 0 and memory["anonymous_read_gb_per_second"] > 0
    assert 0 < memory["rss_bytes"] <= memory["peak_rss_bytes"]
    assert decode["ms_per_token"] == pytest.approx(1e3 / decode["tokens_per_second"])
    assert decode["bytes_per_token"] == sum(decode["bytes"].values())
    roofline = memory["read_gb_per_second"] * 1e9 / decode["bytes_per_token"]
    assert decode["roofline_tokens_per_second"] == pytest.approx(roofline)
    assert 0 < decode["roofline_fraction"] < 1
    assert found["load"]["seconds"] > 0 and found["load"]["check_seconds"] > 0
    firsts = zip(report.main.first_token.values, report.main.prefill.values, strict=True)
    assert all(first > 20 / rate for first, rate in firsts)


def test_the_conditions_say_on_what(report: Report) -> None:
    found = report.as_json()["conditions"]
    assert found["threads"] == 2 and found["tier"] == report.main.tier
    assert 0 < found["cpu_share"] < 1.2
    assert set(found) >= {"cpu", "governor", "load_average", "versions", "busy", "cpus"}
    assert set(found["versions"]) == {"edgebit", "python", "system"}


def test_bytes_of_a_token_are_weights_head_and_the_mean_context(report: Report) -> None:
    found = report.as_json()["decode"]["bytes"]
    attended = [20 + i for i in range(1, 13)]
    assert found == {"layers": 0, "head": 40960, "cache": 4 * sum(attended) / len(attended)}


def test_the_head_reads_what_its_counters_say() -> None:
    plan = read_plan({"plan": {**PLAN, "screen_bytes": 1000, "row_bytes": 10}})
    assert plan.head_bytes(HeadStats(full_passes=2)) == 2 * 40960
    assert plan.head_bytes(HeadStats(queries=3, survivors=5, computed_rows=8)) == 3 * 1000 + 8 * 10
    fallen_back = HeadStats(queries=3, fallbacks=1, survivors=5, computed_rows=8, full_passes=1)
    assert plan.head_bytes(fallen_back) == 3 * 1000 + 8 * 10 + 40960


def test_guesses_give_the_same_tokens_in_no_more_passes(report: Report) -> None:
    found = report.as_json()["speculation"]
    assert 0 <= found["accepted"] <= found["drafted"]
    assert 1 <= found["tokens_per_pass"] == pytest.approx(2 * 12 / (2 * 12 - found["accepted"]))
    ratios = zip(report.main.speculated.values, report.main.decode.values, strict=True)
    assert report.main.gain.values == pytest.approx([guessed / plain for guessed, plain in ratios])


def test_the_head_tells_how_it_found_the_tokens(report: Report) -> None:
    assert report.as_json()["head"] == {
        "screened_tokens": 0,
        "fallbacks": 0,
        "full_passes": 2 * 25,  # first tokens, and twelve without and twelve with guesses
        "survivors_per_token": None,
        "refined_per_token": None,
        "rows_per_token": None,
    }
    screening = HeadStats(queries=10, fallbacks=2, survivors=20, computed_rows=28, full_passes=2)
    screened = Report(**{**vars(report), "main": replace(report.main, head=screening)})
    found = screened.as_json()["head"]
    assert (found["survivors_per_token"], found["rows_per_token"]) == (2.5, 3.5)
    assert "2.5 survivors of screening a token, 2 of 10 tokens fell back" in text_of(screened.tables()[1])


def test_the_roofline_is_taken_repetition_by_repetition(report: Report) -> None:
    main = report.main
    expected = [
        decode * main.token_bytes.total / read
        for decode, read in zip(main.decode.values, main.read_rate.values, strict=True)
    ]
    assert list(main.roofline_fraction.values) == expected


def test_the_profile_counts_every_step_and_adds_up_to_less_than_the_whole(report: Report) -> None:
    prefill, decode = report.profiles
    counts = {(cost.step.kernel, cost.step.label): cost.calls for cost in prefill.costs}
    chunks = 20 // 6 + 1  # chunks of six tokens
    assert counts == {
        ("embed", "embedding"): chunks,
        ("append", "cache"): chunks,
        ("attend", "attention"): chunks,
        ("state", "norm"): 1,
        ("lm_head", "logits"): 1,
    }
    assert {cost.calls for cost in decode.costs} == {12} and len(decode.costs) == 5
    for profile in report.profiles:
        assert 0 < sum(cost.seconds for cost in profile.costs) <= profile.seconds
        assert profile.rest == profile.seconds - sum(cost.seconds for cost in profile.costs)


def test_the_sweep_measures_every_number_of_threads(report: Report) -> None:
    counts = [each["threads"] for each in report.as_json()["sweep"]]
    assert counts == list(range(1, report.conditions["cpus"] + 1))
    assert report.main in report.sweep or report.conditions["cpus"] < 2


def test_a_high_load_at_the_start_is_told(report: Report) -> None:
    quiet = conditions("avx2", 1, 1.0, {}, [0.1, 3.0, 3.0])
    busy = conditions("avx2", 1, 1.0, {}, [1.2, 0.0, 0.0])
    assert (quiet["busy"], busy["busy"]) == (False, True)
    texts = [text_of(Report(**{**vars(report), "conditions": found}).tables()[2]) for found in (quiet, busy)]
    assert ["other programs" in text for text in texts] == [False, True]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu vme\n", "AMD EPYC"),
        ("CPU implementer\t: 0x41\nCPU part\t: 0xd03\n\nCPU part\t: 0xd0b\n", "Cortex-A76"),
        ("CPU implementer\t: 0x48\nCPU part\t: 0xd22\n", "ARM core 0xd22 of maker 0x48"),
    ],
)
def test_the_processor_has_a_name(text: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_conditions, "_text", lambda path: text)
    assert bench_conditions.cpu_model() == name


def test_series_have_mean_deviation_and_median() -> None:
    series = Series([1.0, 2.0, 6.0])
    assert (series.mean, series.median) == (3.0, 2.0)
    assert series.std == pytest.approx((14 / 3) ** 0.5)


# ---- workload ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "asked", "found"),
    [
        (4096, (None, None), (128, 64)),
        (4096, (512, None), (512, 64)),
        (48, (None, None), (24, 24)),
        (48, (40, None), (40, 8)),
        (48, (None, 40), (8, 40)),
        (512, (448, 64), (448, 64)),
        (2, (None, None), (1, 1)),
    ],
)
def test_the_default_workload_fits_the_context(
    context: int, asked: tuple[int | None, int | None], found: tuple[int, int]
) -> None:
    work = choose_workload(context, *asked, 3)
    assert (work.prefill, work.decode, work.repeat) == (*found, 3)


def test_what_does_not_fit_is_refused_with_the_numbers() -> None:
    for asked in [(40, 9), (48, None), (None, 48), (49, 1)]:
        with pytest.raises(ContextFullError, match="the context holds 48"):
            choose_workload(48, *asked, 1)
    for asked, name in [((0, 1), "prefill"), ((1, -1), "decode")]:
        with pytest.raises(RuntimeModelError, match=f"--{name} .*at least 1"):
            choose_workload(48, *asked, 1)


def test_prompts_are_the_same_each_time_and_hold_no_markup(toy_bundle: Path) -> None:
    engine = Engine(toy_bundle, 1)
    tokens = prompt_tokens(engine, 500)
    assert tokens == prompt_tokens(engine, 500) and tokens[:10] == prompt_tokens(engine, 10)
    assert not set(tokens) & set(SPECIAL.values()) and len(set(tokens)) > 200
    engine.close()


def test_plan_facts_that_are_missing_or_garbled_are_refused() -> None:
    assert read_plan({"plan": PLAN}).logits_bytes == 40960
    for change in ({"kinds": ["embed"]}, {"decode": "0 9"}, {"head": None}, {"streamed_bytes": "x"}):
        with pytest.raises(RuntimeModelError, match="compile it again"):
            read_plan({"plan": {**PLAN, **change}})
    with pytest.raises(RuntimeModelError, match="compile it again"):
        read_plan({})


# ---- the program ---------------------------------------------------------------------------------


def test_every_python_here_measures_a_bundle_with_the_standard_library_alone(toy_bundle: Path) -> None:
    for version, executable in interpreters().items():
        result = run(toy_bundle, "--repeat", "1", "--decode", "3", "--json", python=str(executable))
        assert (result.returncode, result.stderr) == (0, ""), f"Python {version}: {result.stderr}"
        assert json.loads(result.stdout)["decode"]["tokens_per_second"] > 0


def test_tables_show_speed_conditions_profile_and_sweep(toy_bundle: Path) -> None:
    result = run(toy_bundle, "--threads", "1", "--repeat", "2", "--profile", "--sweep")
    assert (result.returncode, result.stderr) == (0, "")
    for text in (
        "toy: 1 thread, ",
        "prefill, 24 tokens",
        "decode, 24 tokens",
        "time to first token",
        "roofline",
        "load average",
        "profile of decode: 24 tokens",
        "outside the steps",
        "decode tokens/s",
    ):
        assert text in result.stdout


def test_the_bundle_is_not_written_to(toy_bundle: Path, bundle_copy: Path) -> None:
    run(bundle_copy, "--repeat", "1")
    names = [sorted(path.relative_to(root) for path in root.rglob("*")) for root in (toy_bundle, bundle_copy)]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prefill", "40", "--decode", "9"], f"the context holds {CONTEXT}"),
        (["--prefill", "0"], "--prefill 0"),
        (["--decode", "-3"], "--decode -3"),
        (["--repeat", "0"], "--repeat 0"),
        (["--threads", "0"], "--threads 0"),
        (["--threads", "257"], "257 threads"),
    ],
)
def test_what_cannot_be_measured_is_one_line(toy_bundle: Path, arguments: list[str], words: str) -> None:
    result = run(toy_bundle, *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1 and words in result.stderr


def test_a_damaged_bundle_is_not_measured(bundle_copy: Path) -> None:
    (bundle_copy / "weights.bin").write_bytes(b"")
    result = run(bundle_copy)
    assert result.returncode == 1 and "weights.bin is damaged" in result.stderr


def test_tables_are_laid_out_in_columns() -> None:
    table = Table("speed", ("", "tokens/s"), [("decode", "9.5"), ("prefill, long", "120.0")])
    assert text_of(table).splitlines() == [
        "speed",
        "               tokens/s",
        "decode              9.5",
        "prefill, long     120.0",
    ]
