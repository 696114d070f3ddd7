"""What `init` uses: the SOURCE of the command line, or the choice among what was found."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, assert_never
from urllib.parse import urlsplit

from repro_gate.adapters.engines.environment import may_hold_an_api_key
from repro_gate.adapters.matrix.logprobs import url_problem
from repro_gate.cli.terminal.console import print_line
from repro_gate.core.engines import BUILT_IN_MODELS
from repro_gate.core.logprobs.capabilities import MAX_PROBE_CALLS
from repro_gate.core.logprobs.policy import LOCAL, Endpoint, PolicyKind, ProviderKind
from repro_gate.core.start.machine import Found, GgufModel, RunningServer
from repro_gate.core.start.providers import KNOWN_PROVIDERS, KnownProvider
from repro_gate.core.start.sources import (
    BuiltInModel,
    HostedModel,
    Offer,
    ServedModel,
    Source,
    SourceForm,
    form_of,
    name_of,
    offers_of,
)
from repro_gate.core.text import escape_text
from repro_gate.errors import MeasurementUnavailable, UsageInvalid
from repro_gate.ports.start import Machine
from repro_gate.reports.start.found import format_source, render_offers
from repro_gate.reports.text.escape import one_line

_TRIES: Final = 3
_MAX_NAMED: Final = 10
_PROVIDERS: Final = ", ".join(KNOWN_PROVIDERS)
_FORMS: Final = (
    f"a GGUF file, the URL of a server, a provider ({_PROVIDERS}), builtin:NAME, or what is "
    "fetched, as in a matrix: hf:OWNER/REPO/FILE or package:NAME==VERSION/PATH"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What the command line asks for."""

    source: str | None = None
    model: str | None = None
    """The name at a server or a provider."""
    api_key_env: str | None = None
    yes: bool = False
    probe: bool = False
    """Whether calls that may cost something may be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser:
    """Finds the source of a matrix."""

    machine: Machine
    found: Found
    asked: SourceOptions
    ask: Callable[[str], str] | None
    """Asks a question on the terminal; None if there is none, or if nothing is to be asked."""

    def source(self) -> Source:
        """Return what to begin with.

        Raises:
            UsageInvalid: the command line is incomplete or contradicts itself.
            InputInvalid: a file is no model that generates text.
            MeasurementUnavailable: a server does not answer.
        """
        if self.asked.source is None:
            return self._offered()
        source = self._named(self.asked.source)
        print_line(f"uses {format_source(source)}, as asked for")
        return source

    def _named(self, text: str) -> Source:
        match form_of(text):
            case SourceForm.BUILT_IN:
                return _built_in(text)
            case SourceForm.URL:
                return self._at_server(self.machine.server_at(text))
            case SourceForm.PROVIDER:
                return self._at_provider(text)
            case SourceForm.FETCHED:
                return self.machine.fetched(text)
            case SourceForm.FILE:
                return self.machine.model_at(Path(text))
            case _:
                assert_never(text)

    def _offered(self) -> Source:
        offers = offers_of(self.found)
        if self.asked.yes or len(offers) == 1:
            return self._begun(offers[0])
        if self.ask is None:
            raise UsageInvalid(
                "stdin is not a terminal, so nothing can be chosen: name a SOURCE, or pass --yes "
                f"for {format_source(offers[0].source)}"
            )
        print("begin with:")
        print(render_offers(offers), end="", flush=True)
        return self._begun(offers[self._number(len(offers)) - 1])

    def _number(self, count: int) -> int:
        for _ in range(_TRIES):
            answer = self._asked(f"Which one? [1 to {count}, default 1] ").strip() or "1"
            if answer.isdecimal() and 1 <= int(answer) <= count:
                return int(answer)
        raise UsageInvalid("nothing was chosen, and nothing was written")

    def _asked(self, question: str) -> str:
        try:
            return "" if self.ask is None else self.ask(question)
        except EOFError as error:
            raise UsageInvalid("nothing was chosen, and nothing was written") from error

    def _begun(self, offer: Offer) -> Source:
        print_line(f"uses {format_source(offer.source)}: {offer.reason}")
        match offer.source:
            case ServedModel(server=server, model=model):
                return self._served(server, model)
            case GgufModel() | BuiltInModel():
                return offer.source
            case _:
                assert_never(offer.source)

    def _at_server(self, server: RunningServer) -> Source:
        if server.wants_key and (self.asked.model is None or self.asked.api_key_env is None):
            raise UsageInvalid(
                "the server wants a key: give --model NAME and --api-key-env NAME, the variable "
                "that holds it"
            )
        return self._served(server, self.asked.model or _only_model(server), named=self.asked.model)

    def _served(self, server: RunningServer, model: str, *, named: str | None = None) -> Source:
        if named is not None and server.models and named not in server.models:
            raise UsageInvalid(f"the server has no model {one_line(named)}, but {_names(server)}")
        if server.dialect is not None and not server.wants_key:
            return ServedModel(server=server, model=model)
        name = name_of(urlsplit(server.url).netloc)
        provider = KnownProvider(
            kind=ProviderKind.OPENAI,
            base_url=f"{server.url}/v1",
            api_key_env=self.asked.api_key_env or "",
            use=(PolicyKind.FIRST_TOKEN, Endpoint.CHAT),
        )
        problem = url_problem(provider.base_url, provider.kind)
        if problem is not None:
            raise UsageInvalid(f"only https, or http on this machine, can be gated, not {problem}")
        hosted = HostedModel(
            name=f"{name}-server" if name == LOCAL else name,
            provider=provider,
            model=model,
            api_key_env=self.asked.api_key_env,
        )
        return self._probed(hosted)

    def _at_provider(self, name: str) -> HostedModel:
        known = KNOWN_PROVIDERS[name]
        variable = self.asked.api_key_env or known.api_key_env
        model = self.asked.model or ""
        return self._probed(
            HostedModel(name=name, provider=known, model=model, api_key_env=variable)
        )

    def _probed(self, hosted: HostedModel) -> HostedModel:
        """Return the model with what a probe shows, if one may be made."""
        if not self._may_probe(hosted):
            return hosted
        provider = hosted.provider
        report = self.machine.probe(provider.base_url, hosted.model, api_key_env=hosted.api_key_env)
        if not report.uses:
            raise MeasurementUnavailable(
                f"{format_source(hosted)} gives no log-probabilities that can be compared",
                remedy="see `repro-gate probe` for what it gives, or take another model or server",
            )
        seen = replace(provider, kind=report.kind, base_url=report.provider_url)
        return replace(hosted, provider=seen, probe=report)

    def _may_probe(self, hosted: HostedModel) -> bool:
        """Return whether calls may be made: without a key they cost nothing."""
        if hosted.api_key_env is None or self.asked.probe:
            return True
        if self.asked.yes or self.ask is None or hosted.api_key_env not in self.found.keys:
            return False
        host = urlsplit(hosted.provider.base_url).netloc
        question = (
            f"Send the value of {hosted.api_key_env} to {host}, and find out in at most "
            f"{MAX_PROBE_CALLS} calls of a few tokens what {one_line(hosted.model)} allows? [y/N] "
        )
        return self._asked(question).strip().lower() in {"y", "yes"}


def require_possible(asked: SourceOptions) -> None:
    """Raise `UsageInvalid` for options that no machine could follow."""
    if asked.model is not None and not (asked.model.strip() and asked.model.isprintable()):
        raise UsageInvalid("--model is a name without control characters")
    if asked.api_key_env is not None and not may_hold_an_api_key(asked.api_key_env):
        owner = "belongs to the CI system or the machine"
        raise UsageInvalid(f"--api-key-env: {escape_text(asked.api_key_env)} {owner}")
    form = None if asked.source is None else form_of(asked.source)
    if asked.source is not None and form is SourceForm.FILE and not os.path.lexists(asked.source):
        shown = escape_text(asked.source)
        raise UsageInvalid(f"there is no file {shown!r}; SOURCE is {_FORMS}")
    if form not in {SourceForm.URL, SourceForm.PROVIDER}:
        for option, value in {"--model": asked.model, "--api-key-env": asked.api_key_env}.items():
            if value is not None:
                raise UsageInvalid(f"{option} needs the URL of a server or a provider as SOURCE")
    if form is SourceForm.PROVIDER and asked.model is None:
        raise UsageInvalid(f"{asked.source} needs --model NAME, the model as its API calls it")


def _built_in(source: str) -> BuiltInModel:
    known = [f"builtin:{name}" for name in BUILT_IN_MODELS]
    if source not in known:
        raise UsageInvalid(f"there is no {escape_text(source)}, but {', '.join(known)}")
    return BuiltInModel(source=source)


def _only_model(server: RunningServer) -> str:
    if len(server.models) != 1:
        raise UsageInvalid(f"name a model with --model; the server has {_names(server)}")
    return server.models[0]


def _names(server: RunningServer) -> str:
    shown: Sequence[str] = [one_line(name) for name in server.models[:_MAX_NAMED]]
    more = len(server.models) - len(shown)
    return f"{', '.join(shown)}{f' and {more} more' if more else ''}"
