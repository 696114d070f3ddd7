"""What hypothesis draws whole reports from: every word in them may be hostile."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hypothesis import strategies as st

from repro_gate.core.cells import Cell, Factor
from repro_gate.core.divergence import Divergence, Place, first_divergence
from repro_gate.core.draws import Piece
from repro_gate.core.evidence import Evidence, Finished, Unfinished
from repro_gate.core.goldens import FactChange, Golden
from repro_gate.core.logprob_report import (
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
from repro_gate.core.logprob_verdicts import (
    Agrees,
    Deciding,
    Effect,
    Invalid,
    Outlying,
    Sameness,
    Shifted,
    TokenShift,
)
from repro_gate.core.logprob_verdicts import Evidence as Statistic
from repro_gate.core.models import EngineKind, EngineSpec, ModelSpec
from repro_gate.core.policies import (
    Item,
    LogprobCell,
    LogprobKind,
    Policy,
    ProviderKind,
    ProviderSpec,
    Tolerance,
)
from repro_gate.core.report import (
    CellReport,
    EngineReport,
    GateReport,
    Note,
    NoteOrigin,
    Timing,
)
from repro_gate.core.tokens import Choice, Generation, Stop, Token
from repro_gate.core.verdicts import (
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
    "`" * count + said
    for count in (79, 80, 1000)
    for said in ("", "\n", " <b>x</b> @you #1 [a](https://b) ![a](b) https://a.b")
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
"""Few pieces and many, and nothing at all."""
counts = st.integers(0, 2**40)


@dataclass(frozen=True)
class RandomReports:
    """Strategies for a report and for all that it is made of."""

    texts: st.SearchStrategy[str]
    """For everything that is text and not a checked name."""
    numbers: st.SearchStrategy[float] = finite

    @cached_property
    def evidences(self) -> st.SearchStrategy[Evidence]:
        """Draw what a check left behind."""
        unfinished = st.builds(
            Unfinished,
            exit_code=st.sampled_from([2, 3, 4, 130]),
            message=self.texts,
            remedy=st.none() | self.texts,
        )
        return unfinished | st.builds(Finished, report=self.reports)

    @cached_property
    def notes(self) -> st.SearchStrategy[Note]:
        """Draw a note."""
        filled = self.texts.filter(bool)
        return st.builds(Note, about=filled, message=filled, origin=st.sampled_from(NoteOrigin))

    @cached_property
    def reports(self) -> st.SearchStrategy[GateReport]:
        """Draw a report, which may be empty."""
        controls = st.builds(
            control_of,
            factor=st.sampled_from(Factor),
            divergence=st.none() | self._divergences,
            problem=st.none() | st.builds(Inconclusive, reason=self.texts, remedy=self.texts),
        )
        engines = st.builds(EngineReport, name=self.texts, profile=self.texts, facts=self._facts)
        timing = st.builds(
            Timing,
            wall_s=self.numbers,
            load_s=self.numbers,
            engine_s=self.numbers,
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
        verdicts = st.one_of(
            st.just(Match()),
            self._drifts,
            st.builds(
                Nondeterministic,
                run=counts,
                in_fresh_process=st.booleans(),
                divergence=self._divergences,
            ),
            st.builds(Unrecorded, reason=self.texts),
            st.builds(Vacuous, factor=st.sampled_from(Factor)),
            self._inconclusive,
        )
        return st.builds(
            CellReport,
            suite=self.texts,
            cell=self._token_cells,
            verdict=verdicts,
            runs=counts,
            generation=st.none() | self._generations,
            profile=st.none() | self.texts,
            provenance=st.none() | counts,
        )

    @cached_property
    def logprobs(self) -> st.SearchStrategy[LogprobReport]:
        """Draw the report on a suite."""
        controls = st.builds(
            LogprobControl, policy=self.texts, cell=self.texts, differed=st.booleans()
        )
        spending = st.builds(
            Spending, calls=counts, saved=counts, reused=counts, tokens=counts, usd=self.numbers
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
    def _drifts(self) -> st.SearchStrategy[Drift]:
        return st.builds(
            Drift,
            divergence=self._divergences,
            golden=st.builds(
                Golden,
                cell=self._token_cells,
                profile=self.texts,
                generation=self._generations,
                provenance=self._facts,
            ),
            provenance=few(self._changes),
        )

    @cached_property
    def _logprob_cells(self) -> st.SearchStrategy[LogprobCellReport]:
        outliers = st.builds(
            OutlierDraw,
            total=self.numbers,
            center=self.numbers,
            bound=self.numbers,
            tokens=few(self._shifts),
            request_id=self.texts,
        )
        verdicts = st.one_of(
            st.builds(
                Agrees, sameness=st.sampled_from(Sameness), changed=st.none() | self._effects
            ),
            st.builds(Shifted, effect=self._effects, provenance=few(self._changes)),
            st.builds(Outlying, count=counts, draws=counts, most=counts, allowed=self.numbers),
            st.builds(Invalid, reason=self.texts, position=st.none() | counts, count=counts),
            st.builds(Unrecorded, reason=self.texts),
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
            p_value=self.numbers,
            shift=self.numbers,
            band=self.numbers,
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
        pieces = st.builds(Piece, st.none() | counts, self._bytes)
        return st.builds(
            TokenShift,
            position=counts,
            piece=pieces,
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
            p_value=self.numbers,
            evidence=self.texts,
            typical_shift=self.numbers,
            second_look=st.booleans(),
            mean_shift=self.numbers,
            mean_shift_bound=self.numbers,
            sameness=st.sampled_from(Sameness),
        )

    @cached_property
    def _noises(self) -> st.SearchStrategy[PolicyNoise]:
        return st.builds(
            PolicyNoise,
            policy=self.texts,
            model=self.texts,
            temperature=self.numbers,
            logprobs=st.sampled_from(LogprobKind),
            cells=counts,
            calibration_variance=self.numbers,
            variance=self.numbers,
            atom=st.floats(0, 1),
            draws=counts,
            outliers=counts,
        )

    @cached_property
    def _weights(self) -> st.SearchStrategy[WeightReport]:
        return st.builds(
            WeightReport,
            base=self.texts,
            target=self.texts,
            is_control=st.booleans(),
            must_be_usable=st.booleans(),
            items=counts,
            mean_log_ratio=self.numbers,
            effective_size=self.numbers,
            largest_share=self.numbers,
            mean_weight=self.numbers,
            mean_p=self.numbers,
            khat=st.none() | self.numbers,
            khat_bar=st.none() | self.numbers,
            control_p=st.none() | self.numbers,
            problems=few(self.texts),
            doubts=few(self.texts),
            control_doubt=st.none() | self.texts,
        )

    @cached_property
    def _hosted_cells(self) -> st.SearchStrategy[LogprobCell]:
        providers = st.builds(
            ProviderSpec,
            name=self.texts,
            kind=st.sampled_from([ProviderKind.FIREWORKS, ProviderKind.OPENAI]),
            base_url=self.texts,
            api_key_env=st.none() | self.texts,
        )
        engines = st.builds(
            EngineSpec,
            name=self.texts,
            kind=st.sampled_from(EngineKind),
            command=few(self.texts),
            device=self.texts,
            settings=st.dictionaries(
                self.texts, st.booleans() | st.integers() | self.numbers | self.texts, max_size=2
            ),
            timeout_s=self.numbers,
            pass_env=few(self.texts),
        )
        models = st.builds(
            ModelSpec,
            name=self.texts,
            engine=engines,
            source=self.texts,
            sha256=st.none() | self.texts,
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
        items = st.builds(
            Item, name=names, prompt=self.texts, response=self.texts.map(lambda text: text or "x")
        )
        return st.builds(LogprobCell, policy=policies, item=items)

    @cached_property
    def _token_cells(self) -> st.SearchStrategy[Cell]:
        return st.builds(
            Cell,
            model=names,
            prompt=names,
            text=self.texts,
            seed=st.integers(1, 999),
            max_tokens=st.integers(1, 4096),
            sampler=samplers,
        )

    @cached_property
    def _generations(self) -> st.SearchStrategy[Generation]:
        return _generations(self._tokens, self.numbers)

    @cached_property
    def _divergences(self) -> st.SearchStrategy[Divergence]:
        anywhere = st.builds(
            Divergence,
            place=st.sampled_from(Place),
            position=st.integers(0, 40),
            expected=st.none() | self._tokens,
            observed=st.none() | self._tokens,
        )
        true = st.builds(first_divergence, self._generations, self._generations)
        return true.flatmap(lambda found: anywhere if found is None else st.just(found))

    @cached_property
    def _tokens(self) -> st.SearchStrategy[Token]:
        return st.builds(Token, counts, self._bytes)

    @cached_property
    def _bytes(self) -> st.SearchStrategy[bytes]:
        said = self.texts.map(lambda text: text.encode("utf-8", errors="surrogatepass"))
        return said | st.binary(max_size=6)

    @cached_property
    def _inconclusive(self) -> st.SearchStrategy[Inconclusive]:
        return st.builds(Inconclusive, reason=self.texts, remedy=st.none() | self.texts)

    @cached_property
    def _facts(self) -> st.SearchStrategy[dict[str, str]]:
        return st.dictionaries(self.texts, self.texts, max_size=2)

    @cached_property
    def _changes(self) -> st.SearchStrategy[FactChange]:
        sides = st.none() | self.texts
        return st.builds(FactChange, name=self.texts, before=sides, after=sides)


def few(values: st.SearchStrategy[Any], *, most: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draw a short tuple."""
    return st.lists(values, max_size=most).map(tuple)


@st.composite
def _generations(
    draw: st.DrawFn, tokens: st.SearchStrategy[Token], numbers: st.SearchStrategy[float]
) -> Generation:
    """Draw a generation with evidence for each of its tokens, or for none."""
    said = draw(few(tokens, most=4))
    choices = st.builds(
        Choice, logprob=numbers, best=few(st.tuples(st.integers(0, 2**31), numbers), most=2)
    )
    size = draw(st.sampled_from([0, len(said)]))
    trace = draw(st.lists(choices, min_size=size, max_size=size).map(tuple))
    prompt = draw(few(tokens, most=2))
    return Generation(prompt=prompt, tokens=said, stop=draw(st.sampled_from(Stop)), trace=trace)


HOSTILE = RandomReports(hostile_texts)
"""Every text is hostile."""
