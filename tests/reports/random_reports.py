"""Hypothesis strategies for whole reports with hostile text."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hypothesis import strategies as st

from repro_gate.core.engines import EngineKind, EngineSpec, ModelSpec
from repro_gate.core.logprobs.draw import Piece
from repro_gate.core.logprobs.policy import (
    Item,
    LogprobCell,
    LogprobKind,
    Policy,
    ProviderKind,
    ProviderSpec,
    Tolerance,
)
from repro_gate.core.logprobs.report import (
    LogprobCellReport,
    LogprobControl,
    LogprobReport,
    OutlierDraw,
    PolicyNoise,
    Spending,
    SuiteTest,
    SuiteVerdict,
    WeightReport,
)
from repro_gate.core.logprobs.verdicts import (
    Agrees,
    Deciding,
    Effect,
    Equivalence,
    Invalid,
    Outlying,
    Shifted,
    TokenShift,
)
from repro_gate.core.logprobs.verdicts import Evidence as Statistic
from repro_gate.core.report import (
    CellReport,
    CheckResult,
    EngineReport,
    FinishedCheck,
    GateReport,
    Note,
    NoteOrigin,
    Timing,
    UnfinishedCheck,
)
from repro_gate.core.tokens.cell import Cell, Factor
from repro_gate.core.tokens.chat import Chat
from repro_gate.core.tokens.generation import (
    Choice,
    Divergence,
    Generation,
    Place,
    Stop,
    Token,
    first_divergence,
)
from repro_gate.core.tokens.golden import FactChange, Facts, Golden
from repro_gate.core.tokens.modes import Answer, Level, ModeResult, mode_of
from repro_gate.core.tokens.verdicts import (
    Depends,
    Drift,
    Inconclusive,
    Match,
    Nondeterministic,
    Orphan,
    Unrecorded,
    Vacuous,
)
from tests.fakes.strategies import finite, names, samplers
from tests.fakes.values import control_of

_LONG_RUNS = [
    "`" * count + output
    for count in (79, 80, 1000)
    for output in ("", "\n", " <b>x</b> @you #1 [a](https://b) ![a](b) https://a.b")
]
"""No parser takes a delimiter of any length: GitHub's gives up at 80 backticks, or at 255."""
HOSTILE_PIECES = [
    *_LONG_RUNS,
    *("`", "```", "````", "~~~", "|", "\\", "\\|", " ", "\t", "\n", "\r\n", "\n\n# head\n\n"),
    *("<!--", "-->", "</details>", "<img src=x>", "<script>", "]]>", "&lt;", "&#64;", "<![CDATA["),
    *("@you", "#1", "[a](https://b)", "![a](b)", "https://a.b", "www.a.b", "a@b.c", "$x$"),
    *("**", "__", "~~", "- ", "> ", "1. ", "---", "[x]: y", "{{", "::error::", "##[group]"),
    *("[red]", "[/]", ":warning:", "\x1b[31m", "\x1b]8;;x\x07", "\x00", "\x7f", "\x85"),
    *("\N{RIGHT-TO-LEFT OVERRIDE}", "\N{ZERO WIDTH SPACE}", "\N{LINE SEPARATOR}", "\ufeff"),
    *("\ufe0f", "\u3164", "\U000e0100"),
    *("\ud800", "\uffff", "\U000e0041", "'", '"', "'; rm -rf ~; '"),
    *("@everyone", "GH-1", "a/b#2", "![](http://x/?leak)", "::set-output name=x::y", "${{ x }}"),
    *("<!-- repro-gate/comment/v1 name=x run=9 attempt=9 state=passed found=no -->", "--!>"),
    *("--", "--yes", "</summary>", "<a href=x>", "\U0001f600", "%0A", "%"),
]
"""Whatever means something to Markdown, HTML, a shell, a terminal or the runner of a CI."""
foreign_texts = st.lists(
    st.sampled_from(HOSTILE_PIECES) | st.text(max_size=8), min_size=1, max_size=8
).map("".join)
hostile_texts = st.just("") | st.sampled_from(HOSTILE_PIECES) | foreign_texts
"""Few, many and none."""
counts = st.integers(0, 2**40)
shares = st.floats(0, 1)


@dataclass(frozen=True)
class RandomReports:
    """Strategies for a report and for all that it is made of."""

    texts: st.SearchStrategy[str]
    """For everything that is text and not a checked name."""
    numbers: st.SearchStrategy[float] = finite

    @cached_property
    def sizes(self) -> st.SearchStrategy[float]:
        """Draw a number that is not negative."""
        return self.numbers.map(abs)

    @cached_property
    def reasons(self) -> st.SearchStrategy[str]:
        """Draw a text that is not empty."""
        return self.texts.map(lambda text: text or "x")

    @cached_property
    def results(self) -> st.SearchStrategy[CheckResult]:
        """Draw what a check left behind."""
        unfinished = st.builds(
            UnfinishedCheck,
            exit_code=st.sampled_from([2, 3, 4, 130]),
            message=self.texts,
            remedy=st.none() | self.texts,
        )
        return unfinished | st.builds(FinishedCheck, report=self.reports)

    @cached_property
    def notes(self) -> st.SearchStrategy[Note]:
        """Draw a note."""
        return st.builds(
            Note, about=self.reasons, message=self.reasons, origin=st.sampled_from(NoteOrigin)
        )

    @cached_property
    def reports(self) -> st.SearchStrategy[GateReport]:
        """Draw a report, which may be empty."""
        factors = st.sampled_from(Factor)
        controls = st.one_of(
            st.builds(control_of, factor=factors, divergence=st.none() | self._divergences),
            st.builds(control_of, factor=factors, problem=self._inconclusive),
        )
        engines = st.builds(EngineReport, name=self.reasons, profile=names, facts=self._facts)
        timing = st.builds(
            Timing,
            wall_s=self.sizes,
            load_s=self.sizes,
            engine_s=self.sizes,
            generated_tokens=counts,
        )
        return st.builds(
            GateReport,
            tool_version=self.texts,
            started_at=self.texts,
            suites=few(self.texts),
            cells=few(self.cells, most=5),
            orphans=few(self._orphans),
            controls=few(controls),
            engines=few(engines),
            models=st.dictionaries(self.texts, self._facts, max_size=2),
            timing=timing,
            interrupted=st.booleans(),
            repeat_with=few(self.texts),
            logprobs=few(self.logprobs, most=2),
            notes=few(self.notes),
        )

    @cached_property
    def cells(self) -> st.SearchStrategy[CellReport]:
        """Draw what is known of a cell."""
        return st.one_of(self._measured_cells, self._diverging_cells, self._unmeasured_cells)

    @cached_property
    def _measured_cells(self) -> st.SearchStrategy[CellReport]:
        return st.builds(
            CellReport,
            suite=self.texts,
            cell=self._token_cells,
            verdict=st.one_of(
                st.just(Match()),
                st.builds(Unrecorded, reason=self.reasons),
                st.builds(Vacuous, factor=st.sampled_from(Factor)),
                self._inconclusive,
            ),
            runs=counts.filter(bool),
            generation=self._generations,
            profile=st.none() | names,
            provenance=st.none() | counts,
        ).map(_asked_report)

    @cached_property
    def _unmeasured_cells(self) -> st.SearchStrategy[CellReport]:
        return st.builds(
            CellReport,
            suite=self.texts,
            cell=self._token_cells,
            verdict=self._inconclusive,
            runs=st.just(0),
            generation=st.none(),
            profile=st.none() | names,
        )

    @cached_property
    def _diverging_cells(self) -> st.SearchStrategy[CellReport]:
        """Draw a cell that drifted, depends on a mode, or whose runs differ."""
        return st.builds(
            _diverging,
            self._measured_cells,
            st.tuples(self._generations, self._generations)
            | self._generations.map(lambda one: (_with_digest(one, "0"), _with_digest(one, "1"))),
            facts=self._facts,
            changes=few(self._changes),
            run=st.none() | st.integers(2, 40),
            mode=st.none() | self._modes,
        )

    @cached_property
    def _modes(self) -> st.SearchStrategy[ModeResult]:
        """Draw the result of a mode in which no answer was compared yet."""
        return st.builds(
            ModeResult,
            mode=st.sampled_from([mode_of(name) for name in ("mixed-8", "repeat", "restart")]),
            level=st.sampled_from([Level.TOKENS, Level.BITS]),
            reason=self.reasons,
            remedy=st.none() | self.texts,
        )

    @cached_property
    def logprobs(self) -> st.SearchStrategy[LogprobReport]:
        """Draw the report on a suite."""
        controls = st.builds(LogprobControl, policy=names, cell=self.texts, differed=st.booleans())
        spending = st.builds(
            Spending, calls=counts, saved=counts, reused=counts, tokens=counts, usd=self.sizes
        )
        return st.builds(
            LogprobReport,
            suite=self.texts,
            tolerance=st.just(Tolerance()),
            cells=few(self._logprob_cells, most=5),
            orphans=few(self._orphans),
            suite_test=self._suite_tests,
            policies=few(self._noises),
            weights=few(self._weights),
            controls=few(controls),
            spending=spending,
        )

    @cached_property
    def _orphans(self) -> st.SearchStrategy[Orphan]:
        return st.builds(Orphan, id=self.texts, origin=self.texts)

    @cached_property
    def _logprob_cells(self) -> st.SearchStrategy[LogprobCellReport]:
        outliers = st.builds(
            OutlierDraw,
            total=self.numbers,
            center=self.numbers,
            bound=self.sizes,
            tokens=few(self._shifts),
            request_id=self.texts,
        )
        verdicts = st.one_of(
            st.builds(
                Agrees, equivalence=st.sampled_from(Equivalence), changed=st.none() | self._effects
            ),
            st.builds(Shifted, effect=self._effects, provenance=few(self._changes)),
            st.builds(
                Outlying,
                count=st.integers(0, 9),
                draws=st.integers(9, 40),
                most=counts,
                allowed=shares,
            ),
            st.builds(
                Invalid, reason=self.reasons, position=st.none() | counts, count=st.integers(1, 40)
            ),
            st.builds(Unrecorded, reason=self.reasons),
            self._inconclusive,
        )
        return st.builds(
            LogprobCellReport,
            cell=self._hosted_cells,
            verdict=verdicts,
            source=st.none() | self.texts,
            center=st.none() | self.numbers,
            band=st.none() | self.numbers.map(abs),
            calibration=few(self.numbers),
            totals=few(self.numbers),
            outliers=few(outliers, most=1),
        )

    @cached_property
    def _effects(self) -> st.SearchStrategy[Effect]:
        return st.builds(
            Effect,
            evidence=st.sampled_from(Statistic),
            p_value=shares,
            shift=self.numbers,
            band=self.sizes,
            deciding=self._deciding,
            tokens=few(self._shifts),
        )

    @cached_property
    def _deciding(self) -> st.SearchStrategy[Deciding]:
        return st.builds(
            Deciding,
            token=st.none() | self._shifts,
            shift=self.numbers,
            band=self.numbers.map(abs),
            calibration=few(self.numbers),
            draws=few(self.numbers),
        )

    @cached_property
    def _shifts(self) -> st.SearchStrategy[TokenShift]:
        texts_of_tokens = st.builds(Piece, st.none() | counts, self._bytes)
        return st.builds(
            TokenShift,
            position=counts,
            piece=texts_of_tokens,
            expected=self.numbers,
            observed=self.numbers,
        )

    @cached_property
    def _suite_tests(self) -> st.SearchStrategy[SuiteTest]:
        return st.builds(
            SuiteTest,
            verdict=st.sampled_from(SuiteVerdict),
            cells=counts,
            left_out=counts,
            p_value=shares,
            evidence=st.sampled_from(Statistic),
            typical_shift=self.sizes,
            second_look=st.booleans(),
            mean_shift=self.numbers,
            mean_shift_bound=self.sizes,
            equivalence=st.sampled_from(Equivalence),
        )

    @cached_property
    def _noises(self) -> st.SearchStrategy[PolicyNoise]:
        return st.builds(
            PolicyNoise,
            policy=names,
            model=self.texts,
            temperature=self.sizes,
            logprobs=st.sampled_from(LogprobKind),
            cells=counts,
            calibration_variance=self.sizes,
            variance=self.sizes,
            atom=shares,
            draws=counts,
            outliers=counts,
        )

    @cached_property
    def _weights(self) -> st.SearchStrategy[WeightReport]:
        return st.builds(
            WeightReport,
            base=names,
            target=names,
            is_control=st.booleans(),
            must_be_usable=st.booleans(),
            items=counts,
            mean_log_ratio=self.numbers,
            effective_size=self.sizes,
            largest_share=shares,
            mean_weight=self.sizes,
            mean_p=shares,
            khat=st.none() | self.numbers,
            khat_bar=st.none() | self.numbers,
            control_p=st.none() | shares,
            problems=few(self.texts),
            doubts=few(self.texts),
            control_doubt=st.none() | self.texts,
        )

    @cached_property
    def _hosted_cells(self) -> st.SearchStrategy[LogprobCell]:
        providers = st.builds(
            ProviderSpec,
            name=names,
            kind=st.sampled_from([ProviderKind.FIREWORKS, ProviderKind.OPENAI]),
            base_url=self.texts,
            api_key_env=st.none() | self.texts,
        )
        engines = st.builds(
            EngineSpec,
            name=names,
            kind=st.just(EngineKind.COMMAND),
            command=few(self.texts, least=1),
            device=self.texts,
            settings=st.dictionaries(
                self.texts, st.booleans() | st.integers() | self.numbers | self.texts, max_size=2
            ),
            timeout_s=st.floats(1, 9),
            pass_env=few(self.texts),
        )
        models = st.builds(
            ModelSpec,
            name=names,
            engine=engines,
            source=self.reasons,
            sha256=st.none() | st.just("0a" * 32),
        )
        policies = st.builds(
            Policy,
            name=names,
            provider=providers,
            model=self.texts,
            system=self.texts,
            template=self.texts,
            temperature=st.floats(0.1, 2),
            logprobs=st.sampled_from(LogprobKind),
            local_model=st.none() | models,
        )
        items = st.builds(Item, name=names, prompt=self.texts, response=self.reasons)
        return st.builds(LogprobCell, policy=policies, item=items)

    @cached_property
    def _token_cells(self) -> st.SearchStrategy[Cell]:
        asked = st.fixed_dictionaries({"text": self.texts}) | st.fixed_dictionaries(
            {"text": st.just(""), "chat": self._chats}
        )
        return st.builds(
            lambda asked, **values: Cell(**asked, **values),
            asked=asked,
            model=names,
            prompt=names,
            stop=few(self.reasons),
            seed=st.integers(1, 999),
            max_tokens=st.integers(1, 4096),
            sampler=samplers,
        )

    @cached_property
    def _chats(self) -> st.SearchStrategy[Chat]:
        """Draw a chat, with every text that it may have."""
        objects = st.dictionaries(self.texts, self.texts, max_size=2)
        return st.fixed_dictionaries(
            {"messages": few(objects, least=1)},
            optional={
                "tools": few(objects),
                "template_kwargs": objects,
                "add_generation_prompt": st.booleans(),
                "template": self.reasons,
            },
        ).map(Chat.of)

    @cached_property
    def _generations(self) -> st.SearchStrategy[Generation]:
        return _generations(self._tokens, self.numbers, self.reasons)

    @cached_property
    def _divergences(self) -> st.SearchStrategy[Divergence]:
        anywhere = st.builds(
            Divergence,
            place=st.sampled_from(Place),
            position=st.integers(0, 40),
            expected=st.just(Token(0, b"x")),
            observed=st.none() | self._tokens.filter(lambda token: token.id > 0),
        )
        true = st.builds(first_divergence, self._generations, self._generations)
        return true.flatmap(lambda found: anywhere if found is None else st.just(found))

    @cached_property
    def _tokens(self) -> st.SearchStrategy[Token]:
        return st.builds(Token, counts, self._bytes)

    @cached_property
    def _bytes(self) -> st.SearchStrategy[bytes]:
        output = self.texts.map(lambda text: text.encode("utf-8", errors="surrogatepass"))
        return output | st.binary(max_size=6)

    @cached_property
    def _inconclusive(self) -> st.SearchStrategy[Inconclusive]:
        return st.builds(Inconclusive, reason=self.reasons, remedy=st.none() | self.texts)

    @cached_property
    def _facts(self) -> st.SearchStrategy[dict[str, str]]:
        return st.dictionaries(self.texts, self.texts, max_size=2)

    @cached_property
    def _changes(self) -> st.SearchStrategy[FactChange]:
        sides = st.tuples(st.none() | self.texts, st.none() | self.texts)
        return st.builds(
            lambda name, side: FactChange(name=name, before=side[0], after=side[1]),
            self.texts,
            sides.filter(lambda side: side[0] != side[1]),
        )


def _diverging(
    usual: CellReport,
    pair: tuple[Generation, Generation],
    *,
    facts: Facts,
    changes: tuple[FactChange, ...],
    run: int | None,
    mode: ModeResult | None,
) -> CellReport:
    """Return a cell whose run or mode differs, or without them one that drifted, if the pair does.

    Where the pair does not, or not in what the mode requires, the cell is as usual.
    """
    first, observed = (_asked(usual.cell, each) for each in pair)
    divergence = first_divergence(first, observed)
    if divergence is None:
        return usual
    if mode is not None:
        return _depending(usual, first, observed, mode)
    if run is not None:
        unstable = Nondeterministic(
            run=run,
            in_fresh_process=True,
            divergence=divergence,
            first_had_neighbours=run % 2 == 0,
        )
        return replace(usual, verdict=unstable, generation=first, runs=run)
    golden = Golden(cell=usual.cell, profile="cpu", generation=first, provenance=facts)
    drift = Drift(divergence=divergence, golden=golden, provenance=changes)
    return replace(usual, verdict=drift, generation=observed)


def _depending(
    usual: CellReport, first: Generation, answer: Generation, mode: ModeResult
) -> CellReport:
    """Return a cell of which an answer in a mode differs, or was not proven to be in it."""
    # A margin is not negative: a random trace is not in order.
    result = mode.with_answer(
        replace(first, trace=()), Answer(generation=answer, shift=0.5, running=3, cached=2)
    )
    lost = Inconclusive(reason=result.reason or "x", remedy=result.remedy)
    verdict = Depends(modes=(result.mode,)) if result.falls_short else lost
    return replace(usual, verdict=verdict, generation=first, modes=(result,), provenance=None)


def _asked(cell: Cell, generation: Generation) -> Generation:
    """Return the generation without the rendered prompt that only a chat has."""
    return generation if cell.chat is not None else replace(generation, rendered=None)


def _asked_report(report: CellReport) -> CellReport:
    assert report.generation is not None
    return replace(report, generation=_asked(report.cell, report.generation))


def few(
    values: st.SearchStrategy[Any], *, least: int = 0, most: int = 3
) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draw a short tuple."""
    return st.lists(values, min_size=least, max_size=most).map(tuple)


@st.composite
def _generations(
    draw: st.DrawFn,
    tokens: st.SearchStrategy[Token],
    numbers: st.SearchStrategy[float],
    texts: st.SearchStrategy[str],
) -> Generation:
    """Draw a generation with evidence for each of its tokens, or for none."""
    output = draw(few(tokens, most=4))
    choices = st.builds(
        Choice, logprob=numbers, best=few(st.tuples(st.integers(0, 2**31), numbers), most=2)
    )
    size = draw(st.sampled_from([0, len(output)]))
    logits = draw(st.sampled_from(["", "0", "1"]))
    trace = draw(st.lists(choices, min_size=size, max_size=size).map(tuple))
    prompt = draw(few(tokens, most=2))
    stop = draw(st.sampled_from(Stop))
    is_cut = stop is Stop.STOP_STRING
    return Generation(
        prompt=prompt,
        tokens=output,
        stop=stop,
        trace=trace,
        rendered=draw(texts),
        stop_string=draw(texts) if is_cut else None,
        content=draw(st.binary(max_size=8)) if is_cut else None,
        logits=(logits * 16,) * len(output) if logits else (),
    )


def _with_digest(generation: Generation, digit: str) -> Generation:
    return replace(generation, logits=(digit * 16,) * len(generation.tokens))


HOSTILE = RandomReports(hostile_texts)
"""Every text is hostile."""
