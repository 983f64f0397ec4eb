"""Every setting, once, with its default, bound and meaning. Light: neither torch nor mlflow is imported here.

Paths of inputs are relative to the recipe's file; `workdir` is relative to where the command runs.
`freehold settings` prints this file as a reference.
"""

from __future__ import annotations

import re
from datetime import date as Date
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from evaluation.families import JudgeError, refuse_own_family
from evaluation.results import LOCAL_ARMS

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
Share = Annotated[float, Field(ge=0, lt=1)]


def checked_address(url: str) -> str:
    """A server's address as every client here understands it. Raises ValueError, without what may be a secret."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as e:
        raise ValueError(f"this is no address of a server ({e})") from e
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "an address with a user or a password would stand in logs and reports; keys go into the variable that api_key_env names"
        )
    if parts.query or parts.fragment:
        raise ValueError(
            f"{url.partition('?')[0].partition('#')[0]} goes on with ? or #; an address ends with its path"
        )
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError(f"{url!r} is no address of a server: it takes http:// or https:// and a host")
    return url


Address = Annotated[str, AfterValidator(checked_address)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Source(Section):
    name: Slug = Field(description="Name of this source; record ids begin with it")
    kind: str = Field(description="Reader: a file of data_prep/sources")
    path: Path = Field(description="File or folder, relative to the recipe")
    options: dict[str, Any] = Field(default={}, description="Keyword-only parameters of the reader")
    licence: str = Field(default="not stated", description="Licence or terms of these texts, for the dataset card")


class Task(Section):
    kind: str = Field(description="Kind of row: a file of data_prep/tasks")
    options: dict[str, Any] = Field(default={}, description="Keyword-only parameters of the task")
    max_train_rows: int | None = Field(default=None, ge=1, description="Cap on train rows, shared evenly by the labels")
    max_dev_rows: int | None = Field(default=None, ge=1, description="Cap on dev rows")
    max_test_rows: int | None = Field(default=None, ge=1, description="Cap on test rows, which every arm must answer")


class SensitivityRule(Section):
    """The first rule that fits decides; a record that none fits is shareable."""

    sensitivity: Literal["shareable", "local_only"] = Field(
        description="Rows that are local_only never leave the machine"
    )
    source: Slug | None = Field(default=None, description="Only records of this source")
    fields: dict[str, tuple[str, ...]] = Field(default={}, description="Record field → values; all fields must fit")
    kinds: tuple[str, ...] = Field(default=(), description="Kinds of masked values (card, iban, ssn …), any of them")


class Engine(Section):
    kind: str = Field(default="core", description="What finds personal data: a file of data_prep/pii")
    options: dict[str, Any] = Field(default={}, description="Keyword-only parameters of the engine")


class Canaries(Section):
    """Invented codes planted in the train rows, to see what a model trained in this way gives away. Such a model is never served."""

    number: int = Field(
        default=8, ge=6, le=32, description="Canaries at each count of repetitions; as many controls are never planted"
    )
    repetitions: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(
        default=(1, 4, 16),
        min_length=1,
        max_length=5,
        description="How often a canary stands in the train rows, 1 to 16",
    )


class Privacy(Section):
    key_env: EnvName | None = Field(
        default=None,
        description="Environment variable with the surrogate key; without it a key file is made beside the runs",
    )
    keep_words: tuple[str, ...] = Field(default=(), description="Words never masked: product names that are also names")
    engine: Engine = Field(default=Engine(), description="core, or presidio for names of third persons as well")
    redaction: bool = Field(
        default=True,
        description="false masks nothing, to try the leak audit: it then refuses what it finds (exit code 4)",
    )
    sensitivity: tuple[SensitivityRule, ...] = Field(default=(), description="Which records are local_only")
    planted: Path | None = Field(
        default=None,
        description="File of values, one a line, that must not occur in the dataset; the leak audit looks for them",
    )
    canaries: Canaries | None = Field(
        default=None, description="Plant canaries in the train rows; the model is for the audit and is never served"
    )


class Executor(Section):
    kind: str = Field(default="processes", description="A file of data_prep/executors")
    options: dict[str, Any] = Field(default={}, description="Keyword-only parameters of the executor")


class Dataset(Section):
    near_duplicate_threshold: float = Field(default=0.7, gt=0, le=1, description="Jaccard similarity of word trigrams")
    test_from: datetime = Field(description="Tickets created from this moment on are the test set")
    test_until: datetime | None = Field(default=None, description="Tickets created from this moment on are left out")
    dev_share: Share = Field(default=0.1, description="Share of the train groups held out for early stopping")
    group_by: Literal["customer", "thread"] = Field(
        default="customer",
        description="What stays on one side of the split: all threads of a customer, or a thread with its duplicates and links"
        " (where a few reporters file everything)",
    )
    min_label_examples: int = Field(
        default=2, ge=1, description="Labels with fewer train rows are dropped (rare_label)"
    )
    max_same_answer: int = Field(default=3, ge=1, description="How often one free-text answer is taught (macros)")
    max_bad_records: int = Field(
        default=20, ge=0, description="Broken records a source may hold (counted with their place) before it stops"
    )
    executor: Executor = Field(default=Executor(), description="Where the steps run")

    @model_validator(mode="after")
    def _aware(self) -> Dataset:
        for name in ("test_from", "test_until"):
            value = getattr(self, name)
            if value is not None and value.tzinfo is None:
                raise ValueError(f"{name} needs a time zone: write {value.isoformat()}Z for UTC")
        return self


class Model(Section):
    hub: str | None = Field(default=None, description="Model id on the hub; needs `revision`")
    revision: str | None = Field(default=None, description="Commit of the hub model: a branch moves, a commit does not")
    path: Path | None = Field(default=None, description="Local folder with config, tokenizer and safetensors")
    gguf_package: str | None = Field(default=None, description="Installed Python package that carries one GGUF file")
    gguf_sha256: str | None = Field(default=None, description="Expected sha256 of that file")

    @model_validator(mode="after")
    def _one(self) -> Model:
        given = [n for n in ("hub", "path", "gguf_package") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of hub, path, gguf_package; found {given or 'none'}")
        if self.hub is not None and self.revision is None:
            raise ValueError("hub needs `revision`: the commit to train on")
        if self.revision is not None and re.fullmatch(r"[0-9a-f]{40}", self.revision) is None:
            raise ValueError(
                f"revision {self.revision!r} is no commit of 40 hexadecimal digits; a branch or tag may move"
            )
        return self

    @property
    def id(self) -> str:
        """What the model is called."""
        return self.hub or (self.path.name if self.path is not None else None) or self.gguf_package or ""


class Training(Section):
    method: Literal["lora", "qlora"] = Field(default="lora", description="qlora: base in NF4 with double quantisation")
    rank: int = Field(default=16, ge=1, le=512, description="LoRA rank; the serving cluster must allow it")
    alpha: int = Field(default=32, ge=1, description="LoRA alpha; the update is scaled by alpha/rank")
    dropout: Share = Field(default=0.0, description="LoRA dropout")
    target_modules: tuple[str, ...] = Field(default=("all-linear",), description="Module names, or all-linear")
    last_layers: int | None = Field(
        default=None, ge=1, description="Adapt only this many last layers; earlier ones need no backward pass"
    )
    learning_rate: float = Field(default=2e-4, gt=0, le=0.1, description="Peak learning rate")
    schedule: Literal["linear", "cosine", "constant"] = Field(default="linear", description="Decay after the warm-up")
    warmup_steps: int = Field(default=5, ge=0, description="Optimizer steps of linear warm-up")
    epochs: float = Field(default=1.0, gt=0, description="Passes over the train rows")
    max_steps: int | None = Field(default=None, ge=1, description="Stop after this many optimizer steps")
    max_length: int = Field(default=1024, ge=16, description="Tokens; longer rows are dropped and counted, never cut")
    packing: bool = Field(default=True, description="Several rows to a sequence, attention kept apart (exact)")
    global_batch: int = Field(default=8, ge=1, description="Sequences an optimizer step, over all processes")
    device_batch: int = Field(default=1, ge=1, description="Sequences a forward pass on one process")
    activation_checkpointing: bool = Field(default=False, description="Half the memory for a third more time")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="auto: bf16 where the hardware multiplies it natively"
    )
    eval_every: int | None = Field(default=None, ge=1, description="Optimizer steps between losses on dev")
    patience: int | None = Field(
        default=None, ge=1, description="Stop after this many dev losses without a new best; keeps the best"
    )
    save_every: int = Field(default=50, ge=1, description="Optimizer steps between checkpoints")
    world_size: int = Field(
        default=1, ge=1, description="Processes this run must have; another number stops before the model loads"
    )
    launch: Path | None = Field(default=None, description="accelerate configuration; without it one process")

    @model_validator(mode="after")
    def _batches(self) -> Training:
        if self.global_batch % (self.device_batch * self.world_size):
            raise ValueError(
                f"global_batch {self.global_batch} is not a multiple of device_batch × world_size"
                f" = {self.device_batch} × {self.world_size}"
            )
        if self.patience is not None and self.eval_every is None:
            raise ValueError("patience needs eval_every: without losses on dev nothing can stop early")
        if self.patience is not None and self.eval_every is not None and self.save_every != self.eval_every:
            raise ValueError(
                f"patience keeps the best of the evaluations, so each is saved: set save_every to {self.eval_every}"
            )
        return self


class Price(Section):
    provider: str = Field(description="Provider id in genai-prices")
    model: str = Field(description="Model id in genai-prices")


class TokenRates(Section):
    """US dollars a million tokens."""

    input: Decimal = Field(ge=0, description="Prompt tokens")
    output: Decimal = Field(ge=0, description="Answer tokens, reasoning included")
    cached: Decimal | None = Field(default=None, ge=0, description="Prompt tokens read from a cache; none: as input")
    cache_write: Decimal | None = Field(default=None, ge=0, description="Prompt tokens written to one; none: as input")


class OwnPrice(Section):
    """Your prices of a server, where no list has it or the list's are not yours."""

    rates: TokenRates = Field(description="Prices a million tokens")
    long: TokenRates | None = Field(
        default=None, description="Prices of a prompt longer than long_above, all its tokens"
    )
    long_above: int = Field(default=0, ge=0, description="Prompt tokens above which `long` applies")
    batch_factor: Decimal = Field(default=Decimal("0.5"), ge=0, le=1, description="Price in a batch over the price now")
    source: str = Field(description="Where these prices come from")
    date: Date = Field(description="When they were read")


class Paid(Section):
    """A server whose requests may be paid for. Without a price nothing keeps them under a budget."""

    price_as: Price | None = Field(
        default=None, description="Whose list price applies; a stand-in is priced as the API it stands for"
    )
    price: OwnPrice | None = Field(default=None, description="Your own prices instead of a list's")

    @model_validator(mode="after")
    def _one_price(self) -> Self:
        if self.price_as is not None and self.price is not None:
            raise ValueError("set price_as, a list's prices, or price, your own; not both")
        return self


class Teacher(Paid):
    """A model that writes questions or answers from documents, for tasks that ask for one. Local by default."""

    base_url: Address | None = Field(
        default=None, description="OpenAI-compatible endpoint; none: the untuned base model on a loopback server"
    )
    model: str | None = Field(default=None, description="Model id to ask for")
    api_key_env: EnvName = Field(default="TEACHER_API_KEY", description="Environment variable with the key")
    terms: str = Field(description="Terms under which its answers may be trained on; recorded in the dataset card")
    max_questions: int = Field(default=200, ge=1, description="Questions beyond this number are not asked")
    max_new_tokens: int = Field(default=400, ge=1, description="Longest answer, in tokens")
    budget_usd: Decimal = Field(
        default=Decimal(5), gt=0, description="Hard stop, retries included; answers so far are kept"
    )
    concurrency: int = Field(default=4, ge=1, le=256, description="Requests under way at once")
    timeout_s: float = Field(default=120, gt=0, description="Per attempt")

    @model_validator(mode="after")
    def _named(self) -> Teacher:
        if self.base_url is not None and self.model is None:
            raise ValueError("base_url needs `model`: the id to ask for")
        return self


class Api(Paid):
    base_url: Address | None = Field(
        default=None,
        description="OpenAI-compatible endpoint; none: a stand-in with the untuned base model is started on loopback",
    )
    base_url_env: EnvName | None = Field(default=None, description="Environment variable that overrides base_url")
    vendor: str | None = Field(
        default=None,
        description="A provider that speaks another protocol than OpenAI's, by its name in any-llm (extra [providers]), such as"
        " anthropic; base_url stays the only place it may call",
    )
    model: str | None = Field(default=None, description="Model id to ask for")
    api_key_env: EnvName = Field(default="OPENAI_API_KEY", description="Environment variable with the key")
    label_mode: Literal["chat", "logprobs", "decisions", "systemone"] = Field(
        default="chat",
        description="How labels are asked: a chat answer that is read, the same with the probabilities that its tokens tell"
        " (`logprobs` of chat completions), or the server's typed decisions with probabilities",
    )
    streaming: bool = Field(default=False, description="Stream answers, which measures the time to the first token")
    concurrency: int = Field(default=4, ge=1, le=256, description="Requests under way at once")
    requests_per_minute: int | None = Field(default=None, ge=1, description="Rate limit on our side")
    timeout_s: float = Field(default=60, gt=0, description="Per attempt")
    max_retries: int = Field(default=5, ge=0, description="Attempts after the first, with exponential back-off")
    budget_usd: Decimal = Field(default=Decimal(5), gt=0, description="Hard stop for the arm, retries included")
    examples: int = Field(default=0, ge=0, description="Worked examples from train put before each question")
    passages: int = Field(
        default=0, ge=0, le=20, description="Passages of the documents it is shown; local_only ones never"
    )
    limit_as: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens",
        description="Field that holds the longest answer; newer OpenAI models know the second only",
    )
    thinking_tokens: int = Field(
        default=0,
        ge=0,
        description="Added to the longest answer: what the model may spend on thinking first; it is billed",
    )
    batch: bool = Field(
        default=False,
        description="Ask by OpenAI's Batch API: about half the price, answers within a day, no latency measured; stopping the"
        " command while it waits loses nothing",
    )
    request: dict[str, str | int | float | bool | None] = Field(
        default={},
        description="Further fields of each request, such as `store: false`; null leaves one out (`temperature: null`)",
    )

    @model_validator(mode="after")
    def _named(self) -> Api:
        taken = sorted(
            {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"} & set(self.request)
        )
        if taken:
            raise ValueError(f"request sets {taken[0]!r}, which has a setting of its own")
        if self.vendor is not None and (self.base_url is None or self.label_mode != "chat" or self.streaming):
            raise ValueError(f"vendor {self.vendor} needs base_url, label_mode chat, and no streaming")
        if self.base_url_env is not None and self.base_url is None:
            raise ValueError(
                "base_url_env overrides base_url, so it needs one: without an address the arm is a stand-in"
            )
        if self.batch and (self.base_url is None or self.label_mode != "chat" or self.streaming or self.vendor):
            raise ValueError("batch needs base_url and label_mode chat, and takes neither streaming nor a vendor")
        if self.label_mode in ("decisions", "systemone") and self.examples:
            raise ValueError(f"label_mode {self.label_mode} takes no examples; set examples to 0")
        if self.base_url is not None and self.model is None:
            raise ValueError("base_url needs `model`: the id to ask for")
        return self

    @property
    def is_stand_in(self) -> bool:
        return self.base_url is None


class Egress(Section):
    """What may leave the machine, for every call: the API arm, the teacher, a judge."""

    destinations: tuple[str, ...] | None = Field(
        default=None,
        description="Hosts that may be called, such as `*.openai.azure.com`; none: those that the sections' base_url names",
    )
    sensitivity: tuple[Literal["shareable"], ...] = Field(
        default=("shareable",), description="Classes of rows that may leave; local_only never does; empty: none may"
    )
    blocked_kinds: tuple[Literal["secret", "card", "iban", "ssn", "email", "phone", "ip", "mac"], ...] = Field(
        default=("secret", "card", "iban", "ssn"),
        description="Personal data that keeps a row back where it is found in what would be sent; surrogates do not count",
    )
    budget_usd: Decimal | None = Field(
        default=None,
        gt=0,
        description="Hard stop over everything that this run folder ever spends, retries included; --budget-usd goes before it",
    )
    confirmed: bool = Field(default=False, description="Send without --yes; calls to this machine itself need neither")


ArmName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]


class Leaks(Section):
    """What the adapter gives away of its train rows. Each bound is a gate: passed where it is shown to be kept, failed where more is."""

    rows: int = Field(
        default=100, ge=20, description="Train rows, and held-out rows, whose losses membership inference compares"
    )
    values: int = Field(default=400, ge=1, description="Masked values whose word-for-word extraction is tried")
    max_extracted: float = Field(
        default=0.01, ge=0, lt=1, description="Share of masked values that only the tuned model gives word for word"
    )
    max_tpr: float = Field(
        default=0.1, gt=0, lt=1, description="Share of train rows that membership inference finds at 1 % false alarms"
    )


class General(Section):
    """Forgetting: questions outside the task, asked before and after tuning."""

    path: Path | None = Field(
        default=None, description="Your file: JSON lines with `prompt` (text or messages) and `answer`"
    )
    lm_eval: tuple[str, ...] = Field(
        default=(),
        description="Instead of a file: tasks of lm-evaluation-harness (extra [lm-eval]), such as `arc_easy`; data that is not"
        " on this machine is downloaded",
    )
    lm_eval_folder: Path | None = Field(default=None, description="Folder of your own task files for the harness")
    metric: Literal["log_likelihood", "exact_match"] = Field(
        default="log_likelihood",
        description="Of your file: log_likelihood of the answer, nats a token; exact_match generates. A task has its own",
    )
    max_items: int = Field(
        default=200, ge=2, description="Questions beyond this number, of a file or a task, are not asked"
    )
    max_drop: float | None = Field(
        default=None, gt=0, description="Gate: fails where a larger drop is shown; none only reports it"
    )

    @model_validator(mode="after")
    def _one_set(self) -> General:
        if (self.path is None) == (not self.lm_eval):
            raise ValueError("give `path`, your file, or `lm_eval`, tasks of the harness; not both")
        return self


class Judge(Paid):
    """A model that compares the candidate's free-text answers with the baseline's. Its numbers count once it has qualified."""

    base_url: Address | None = Field(
        default=None, description="OpenAI-compatible endpoint; none: the untuned base model on a loopback server"
    )
    model: str | None = Field(default=None, description="Model id to ask for")
    api_key_env: EnvName = Field(default="JUDGE_API_KEY", description="Environment variable with the key")
    allow_same_family: bool = Field(
        default=False,
        description="Let a model judge answers of its own family; it has to pass the self-preference test",
    )
    families: dict[str, str] = Field(
        default={}, description="Model id → family, for the judge or an arm whose id does not tell it"
    )
    sees_adapter: bool = Field(
        default=False,
        description="Send answers of an adapter that learned from local_only rows to a judge on another machine",
    )
    max_items: int = Field(default=200, ge=1, description="Items beyond this number are not judged")
    padded_probes: int = Field(
        default=24,
        ge=0,
        description="Answers compared with themselves padded, one a customer; fewer than 14 can prove nothing",
    )
    max_chars: int = Field(default=20_000, ge=100, description="Longer comparisons are not judged: could not measure")
    max_new_tokens: int = Field(
        default=16, ge=1, description="Longest reply, in tokens; a model that thinks aloud needs more"
    )
    budget_usd: Decimal = Field(default=Decimal(5), gt=0, description="Hard stop, retries included; replies are kept")
    concurrency: int = Field(default=4, ge=1, le=256, description="Requests under way at once")
    timeout_s: float = Field(default=120, gt=0, description="Per attempt")
    max_retries: int = Field(default=5, ge=0, description="Attempts after the first, with exponential back-off")
    margin: float | None = Field(
        default=None,
        gt=0,
        lt=0.5,
        description="Gate: fails where the qualified judge shows a win rate below 0.5 less this; none only reports it",
    )
    min_labels: int = Field(default=50, ge=2, description="Items that people must have judged as well")
    min_kappa: float = Field(
        default=0.4, ge=0, lt=1, description="Least agreement with people (Cohen's kappa, lower bound)"
    )
    min_consistency: float = Field(
        default=0.7, ge=0, lt=1, description="Least share of verdicts that stay in the other order (lower bound)"
    )
    max_padded_wins: float = Field(
        default=0.2, gt=0, lt=1, description="Largest share of probes that padding may win (upper bound)"
    )
    max_lean: float = Field(
        default=0.15, gt=0, lt=1, description="How far its win rate may lean beyond people's (upper bound)"
    )

    @model_validator(mode="after")
    def _named(self) -> Judge:
        if self.base_url is not None and self.model is None:
            raise ValueError("base_url needs `model`: the id to ask for")
        return self


class Review(Section):
    """The sheet that `freehold review` writes for people."""

    disputed: int = Field(
        default=60,
        ge=1,
        description="Items on which judge and metrics, or the judge's two orders, disagree; without a judge, those that the"
        " metric tells furthest apart",
    )
    clear: int = Field(
        default=60, ge=1, description="Others, drawn by chance: without them nothing follows for all items"
    )


class LoadServer(Paid):
    """A server of one's own that answers as an arm does."""

    arm: ArmName = Field(default="tuned", description="Whose prompts and answer lengths make the load")
    base_url: Address | None = Field(
        default=None,
        description="OpenAI-compatible endpoint, ending in /v1; none: the untuned base model on a loopback server",
    )
    model: str | None = Field(default=None, description="Model id to ask for")
    api_key_env: EnvName | None = Field(
        default=None, description="Environment variable with the key, where it needs one"
    )
    machine: str = Field(description="What one replica runs on, as it should stand beside the number")
    pin_lengths: bool = Field(
        default=False, description="The server takes `ignore_eos` (vLLM): every answer gets its measured length"
    )
    timeout_s: float = Field(default=60, gt=0, description="A request that takes longer has failed")

    @model_validator(mode="after")
    def _named(self) -> LoadServer:
        if self.base_url is not None and self.model is None:
            raise ValueError("base_url needs `model`: the id to ask for")
        if self.arm == "api":
            raise ValueError(
                "the managed API is not loaded: its rate limit is no capacity, and every request is paid for"
            )
        return self


class Bounds(Section):
    """Upper bounds on 95th percentiles; a failed request misses all of them."""

    first_token_ms: float | None = Field(default=None, gt=0, description="From arrival to the first token")
    inter_token_ms: float | None = Field(default=None, gt=0, description="Mean time between tokens, after the first")
    latency_ms: float | None = Field(default=None, gt=0, description="From arrival to the whole answer")

    @model_validator(mode="after")
    def _one(self) -> Bounds:
        if self.first_token_ms is None and self.inter_token_ms is None and self.latency_ms is None:
            raise ValueError("set a bound: first_token_ms, inter_token_ms or latency_ms")
        return self


class Load(Section):
    """Load test of own servers: the highest rate of requests at which they keep the service level."""

    servers: tuple[LoadServer, ...] = Field(min_length=1, description="Servers to load, one replica each")
    p95: Bounds = Field(description="The service level")
    tasks: tuple[str, ...] = Field(default=(), description="Tasks to measure; empty: every task of the test set")
    rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(), description="Requests a second to measure at; empty searches for the highest"
    )
    seconds: float = Field(
        default=60,
        gt=0,
        description="Measured time of a run: ten times the longest bound at least, and best a thousand requests",
    )
    warm_up_s: float = Field(default=10, ge=0, description="Load before the measured time, left out")
    repeats: int = Field(default=3, ge=1, le=3, description="Most runs a rate, while its level is not settled")
    precision: float = Field(
        default=0.05, gt=0, le=0.5, description="The search ends when two rates differ by this share"
    )
    max_minutes: float = Field(default=30, gt=0, description="Longest search, a server and task")
    max_late_ms: float = Field(
        default=25, gt=0, description="More than 1 % of requests sent later than this: could not measure"
    )

    @model_validator(mode="after")
    def _long_enough(self) -> Load:
        longest = max(b for b in (self.p95.first_token_ms, self.p95.latency_ms, 0.0) if b is not None) / 1000
        if self.seconds < 10 * longest:
            raise ValueError(
                f"seconds {self.seconds:g} is too short for a bound of {longest:g} s: a queue shows an overload of a tenth"
                f" only after ten times the bound. Set seconds to {10 * longest:g} or more"
            )
        arms = [s.arm for s in self.servers]
        if len(set(arms)) < len(arms):
            raise ValueError("two servers have the same arm: a capacity is one replica's, so name one")
        return self


class Evaluation(Section):
    arms: tuple[ArmName, ...] = Field(default=("base", "few_shot", "tuned"), description="Who answers the test items")
    few_shot_examples: int = Field(
        default=4, ge=1, le=64, description="Worked examples for the few_shot arm, from train only"
    )
    few_shot_replies: int = Field(
        default=2, ge=0, le=64, description="Worked examples where the answer is free text: they are long"
    )
    passages: int = Field(
        default=4, ge=1, le=20, description="Passages of the documents that the arms rag and tuned_rag are shown"
    )
    passage_chars: int = Field(default=1200, ge=100, description="Longer passages are cut to this")
    max_new_tokens: int = Field(default=160, ge=1, description="Longest free-text answer, in tokens")
    batch_size: int = Field(
        default=4, ge=1, description="Prompts a local forward pass at most; fewer where they are long"
    )
    golden_prompts: int = Field(
        default=6, ge=1, le=64, description="Prompts recorded for the parity check at promotion"
    )
    api: Api | None = Field(default=None, description="The managed API, or its stand-in")
    more_apis: dict[ArmName, Api] = Field(
        default={}, description="Further arms by name: another managed model, or an open one at a serverless provider"
    )
    leaks: Leaks | None = Field(
        default=Leaks(), description="Privacy audit of the adapter; null leaves it out, canaries included"
    )
    general: General | None = Field(default=None, description="General ability before and after tuning")
    judge: Judge | None = Field(default=None, description="A model as judge of free text, local by default")
    review: Review = Field(default=Review(), description="How much people are asked to review")
    load: Load | None = Field(default=None, description="Load test: latency and capacity of own servers")

    @model_validator(mode="after")
    def _api_given(self) -> Evaluation:
        if "api" in self.arms and self.api is None:
            raise ValueError("arms has api, but the section `api` is missing")
        for name, more in self.more_apis.items():
            if name in (*LOCAL_ARMS, "api"):
                raise ValueError(f"more_apis has {name!r}, which is the name of another arm")
            if more.is_stand_in:
                raise ValueError(f"more_apis.{name} needs base_url: only the arm api has a stand-in")
        unknown = sorted(set(self.arms) - {*LOCAL_ARMS, "api", *self.more_apis})
        if unknown:
            raise ValueError(f"arms has {unknown[0]!r}; known are {[*LOCAL_ARMS, 'api', *self.more_apis]}")
        for server in self.load.servers if self.load is not None else ():
            if server.arm not in self.arms:
                raise ValueError(f"load.servers has arm {server.arm!r}, but arms is {list(self.arms)}")
            if server.arm in self.more_apis:
                raise ValueError(f"load.servers has arm {server.arm!r}: only servers of your own are put under load")
        return self

    def endpoint(self, arm: str) -> Api | None:
        """How an arm outside this process is asked; None for a local one."""
        return self.api if arm == "api" else self.more_apis.get(arm)

    @staticmethod
    def section(arm: str) -> str:
        """Where such an arm stands in the recipe, for what errors say."""
        return "evaluation.api" if arm == "api" else f"evaluation.more_apis.{arm}"


class Owned(Section):
    """Hardware that is bought: its hour is its price over the months of use, and electricity."""

    usd: Decimal = Field(gt=0, description="Price of one replica's hardware")
    months: int = Field(default=36, ge=1, description="Months of use it is written off over")
    kilowatts: float = Field(ge=0, description="Mean power draw")
    usd_per_kwh: Decimal = Field(ge=0, description="Price of electricity")
    pue: float = Field(default=1.3, ge=1, description="Power of the whole building over that of the hardware")


class Gpu(Section):
    name: str = Field(description="What serves the tuned model")
    usd_per_hour: Decimal | None = Field(
        default=None, gt=0, description="Price of one replica's hardware an hour; or give `owned`"
    )
    owned: Owned | None = Field(default=None, description="Bought hardware, instead of usd_per_hour")
    gpus: int = Field(
        default=1, ge=1, description="GPUs of one replica, which its price covers; training is paid by the GPU-hour"
    )
    interval_usd: tuple[Decimal, Decimal] | None = Field(
        default=None, description="Lowest and highest price an hour you expect to pay (95 %)"
    )
    requests_per_second: float | None = Field(
        default=None,
        gt=0,
        description="What one replica answers inside your service level, measured on this hardware;"
        " without it the evaluation's measurement on its own machine",
    )
    source: str = Field(description="Where that price comes from")
    date: Date = Field(description="When it was read")

    @model_validator(mode="after")
    def _one_price(self) -> Gpu:
        if (self.usd_per_hour is None) == (self.owned is None):
            raise ValueError("give exactly one of usd_per_hour and owned")
        if self.interval_usd is not None and not 0 < self.interval_usd[0] <= self.hourly_usd <= self.interval_usd[1]:
            raise ValueError(f"interval_usd must hold the price of an hour, {self.hourly_usd:.4g}, between its ends")
        return self

    @property
    def hourly_usd(self) -> Decimal:
        """What an hour of one replica costs, rented or owned."""
        if self.owned is None:
            assert self.usd_per_hour is not None
            return self.usd_per_hour
        from evaluation.cost import owned_usd_per_hour

        return owned_usd_per_hour(**self.owned.model_dump())


class Traffic(Section):
    profile: tuple[float, ...] | None = Field(
        default=None,
        description="Arrivals of the 168 hours of a week, Monday 00:00 UTC first, in any unit (`freehold scan --json` counts"
        " them); none: even, which is the cheapest that self-hosting can have",
    )
    burst: float = Field(default=1.0, ge=1, le=100, description="Peak within an hour over the hour's mean")
    interval: tuple[int, int] | None = Field(
        default=None, description="Lowest and highest monthly requests you expect (95 %)"
    )
    cached_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of prompt tokens the API will read from its cache; none: as measured",
    )
    cache_write_share: Share = Field(default=0.0, description="Share of prompt tokens the API will write to its cache")
    batch_share: float = Field(default=0.0, ge=0, le=1, description="Share of requests that can wait for a batch")
    paid_twice_share: Share = Field(
        default=0.0, description="Share of requests the API bills twice, after a time-out (refused ones cost nothing)"
    )
    largest_monthly_requests: int | None = Field(
        default=None, ge=1, description="Break-even is searched up to here; none: well past the first crossing"
    )

    @model_validator(mode="after")
    def _usable(self) -> Traffic:
        if self.profile is not None:
            from evaluation import cost

            try:
                cost.profile(self.profile)
            except cost.CostError as e:
                raise ValueError(f"profile: {e}") from None
        if self.cache_write_share + (self.cached_share or 0) > 1:
            raise ValueError("cached_share and cache_write_share are more than 1 together")
        if self.interval is not None and not 0 < self.interval[0] <= self.interval[1]:
            raise ValueError(f"interval {list(self.interval)} must ascend from above 0")
        return self


class Serving(Section):
    minimum_replicas: int = Field(default=1, ge=0, description="Replicas that always run; 0 only with autoscaling")
    n_plus_one: bool = Field(default=True, description="One replica beyond need, so that one may fail")
    autoscaling: bool = Field(default=False, description="Replicas follow the hour; else the busiest hour's always run")
    cold_start_minutes: float = Field(
        default=5.0, ge=0, le=60, description="Until a new replica answers; it is paid for"
    )
    headroom: float = Field(default=0.7, gt=0, le=1, description="Share of a replica's capacity that is planned for")

    @model_validator(mode="after")
    def _some(self) -> Serving:
        if self.minimum_replicas == 0 and not self.autoscaling:
            raise ValueError("minimum_replicas 0 needs autoscaling")
        return self


class Upkeep(Section):
    people: float = Field(default=0.0, ge=0, description="Full-time equivalents who keep the service running")
    usd_per_person_month: Decimal = Field(
        default=Decimal(15000), ge=0, description="What one of them costs a month, everything included"
    )
    fixed_usd_per_month: Decimal = Field(default=Decimal(0), ge=0, description="Storage, network, licences")
    retrain_months: float = Field(default=6.0, gt=0, description="Months until the model is tuned and judged again")
    build_usd: Decimal | None = Field(
        default=None,
        ge=0,
        description="Tuning, labelling and evaluation, each time; none: the measured GPU-hours of training at the"
        " hardware's price and the evaluation's API bill",
    )
    fallback_share: float = Field(
        default=0.0, ge=0, le=1, description="Share of requests asked locally and then at the API as well"
    )
    api_fixed_usd_per_month: Decimal = Field(default=Decimal(0), ge=0, description="Support or private link of the API")
    misrouted_share: Share = Field(default=0.0, description="Share of requests a router sends to the wrong side")
    usd_per_misrouted: Decimal = Field(default=Decimal(0), ge=0, description="What one of those costs")


class Routing(Section):
    risk: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Highest error rate of labels that the tuned model gives above its confidence threshold",
    )
    delta: float = Field(default=0.05, gt=0, lt=0.5, description="Probability that this error rate is exceeded")


class Decision(Section):
    candidate: Literal["tuned", "tuned_rag"] = Field(
        default="tuned", description="Arm that would replace the baseline: only the tuned model is ever served"
    )
    baseline: ArmName = Field(default="api", description="Arm that is paid for today")
    ratio: float = Field(
        default=0.9, gt=0, le=1, description="Non-inferior means at least this share of the baseline's quality"
    )
    alpha: float = Field(default=0.05, gt=0, le=0.2, description="One-sided error rate; 0.025 applies under 200 items")
    metrics: dict[str, str] = Field(default={}, description="Task → the metric its gate uses; others are shown")
    margins: dict[str, float] = Field(
        default={},
        description="Task → how far the candidate's mean may lie below the baseline's, instead of the ratio (0 to 1); for win rates",
    )
    must_pass: tuple[str, ...] = Field(
        description="Slices that must all pass, as `task=triage` or `triage/language=de`"
    )
    min_items: int = Field(default=30, ge=2, description="A slice with fewer measured items is shown, not decided")
    min_measured_share: float = Field(
        default=0.9, gt=0, le=1, description="Share of items both arms must have answered readably"
    )
    leak_gates_required: bool = Field(
        default=False,
        description="Undecided, not only told, where a gate of evaluation.leaks has too few rows to show that its bound is kept",
    )
    monthly_requests: int = Field(default=100_000, ge=0, description="Traffic for the monthly bill")
    hardware: Gpu = Field(description="What the tuned model would run on")
    traffic: Traffic = Field(default=Traffic(), description="When requests come, and how the API would be used")
    serving: Serving = Field(default=Serving(), description="How many replicas run")
    upkeep: Upkeep = Field(default=Upkeep(), description="What self-hosting costs besides hardware")
    max_price_age_days: int = Field(default=90, ge=0, description="Older prices of API and hardware are warned about")
    routing: Routing = Field(default=Routing(), description="Confidence threshold of routing.yaml, chosen on dev")

    def quality_gates(self) -> dict[str, Any]:
        """What must be declared before answers are scored; evaluation writes it down, so that a later change is told."""
        named = (
            "candidate",
            "baseline",
            "ratio",
            "margins",
            "alpha",
            "metrics",
            "must_pass",
            "min_items",
            "min_measured_share",
        )
        return self.model_dump(mode="json", include=set(named))

    @model_validator(mode="after")
    def _owned_always_runs(self) -> Decision:
        if self.hardware.owned is not None and self.serving.autoscaling:
            raise ValueError("owned hardware is paid for whether it runs or not: set serving.autoscaling to false")
        return self

    @model_validator(mode="after")
    def _traffic_within(self) -> Decision:
        interval = self.traffic.interval
        if interval is not None and not interval[0] <= self.monthly_requests <= interval[1]:
            raise ValueError(
                f"traffic.interval {list(interval)} must hold monthly_requests, {self.monthly_requests}, between its ends"
            )
        return self


class Tracking(Section):
    experiment: str | None = Field(default=None, description="MLflow experiment; the recipe's name without it")


class Target(Section):
    kind: str = Field(description="Serving target: a file of pipelines/targets")
    options: dict[str, Any] = Field(default={}, description="Keyword-only parameters of the target")


class Promotion(Section):
    alias: Slug = Field(description="Name clients ask for; versions are alias@sha12")
    target: Target = Field(description="Where the tuned model goes")
    logprob_tolerance: float | None = Field(
        default=None,
        gt=0,
        description="Largest difference of a golden token's log-probability; without it 0.02 where evaluation computed in fp32,"
        " 0.2 in bf16",
    )


class Recipe(Section):
    name: Slug = Field(description="Names the run, its folder and the MLflow experiment")
    workdir: Path | None = Field(default=None, description="Where artifacts go; runs/NAME without it")
    seed: int = Field(default=7, ge=0, description="Seed of every random choice")
    sources: tuple[Source, ...] = Field(min_length=1, description="Documents and ticket exports")
    privacy: Privacy = Field(default=Privacy(), description="What is masked and under which key")
    dataset: Dataset = Field(description="Duplicates and split")
    tasks: tuple[Task, ...] = Field(min_length=1, description="Kinds of instruction rows to make")
    teacher: Teacher | None = Field(default=None, description="The model that answers the tasks' questions")
    model: Model = Field(description="The open base model")
    training: Training = Field(default=Training(), description="LoRA or QLoRA")
    egress: Egress = Field(default=Egress(), description="What may leave the machine, and for how much")
    evaluation: Evaluation = Field(default=Evaluation(), description="Arms and how they are asked")
    decision: Decision = Field(description="Gates, declared before anything is scored")
    tracking: Tracking = Field(default=Tracking(), description="MLflow")
    promotion: Promotion | None = Field(default=None, description="Where a passing model is served")

    @model_validator(mode="after")
    def _distinct(self) -> Recipe:
        for what, names in (
            ("sources", [s.name for s in self.sources]),
            ("tasks", [t.kind for t in self.tasks]),
            ("evaluation.arms", list(self.evaluation.arms)),
        ):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"{what} has {twice[0]!r} twice; names must differ")
        for arm in (self.decision.candidate, self.decision.baseline):
            if arm not in self.evaluation.arms:
                raise ValueError(f"decision compares {arm!r}, but evaluation.arms is {list(self.evaluation.arms)}")
        if self.decision.candidate == self.decision.baseline:
            raise ValueError(f"decision compares {self.decision.candidate!r} with itself; set baseline to another arm")
        return self

    @model_validator(mode="after")
    def _impartial(self) -> Recipe:
        try:
            _ = self.judged_by_its_own
        except JudgeError as e:
            raise ValueError(str(e)) from e
        return self

    @property
    def judge_model(self) -> str:
        """The id of the judge's model."""
        judge = self.evaluation.judge
        return (judge.model if judge is not None else None) or self.model.id

    @property
    def judged_by_its_own(self) -> frozenset[str]:
        """The sides (candidate, baseline) whose model is of the judge's family. Raises JudgeError where that is refused."""
        judge = self.evaluation.judge
        if judge is None:
            return frozenset()
        sides = {"candidate": self.decision.candidate, "baseline": self.decision.baseline}
        arms = {
            side: (api.model if (api := self.evaluation.endpoint(arm)) is not None else None) or self.model.id
            for side, arm in sides.items()
        }
        return refuse_own_family(self.judge_model, arms, judge.families, allowed=judge.allow_same_family)

    @property
    def run_folder(self) -> Path:
        return (self.workdir or Path("runs") / self.name).absolute()


def settings_tables() -> list[str]:
    """The settings as Markdown tables, generated from the schema."""
    lines = [
        "# Settings",
        "",
        "Generated by `freehold settings`: every key of a recipe with its default and meaning, then every reader, task, engine,",
        "executor, serving target and metric with its options.",
        "",
    ]
    paths: dict[type[BaseModel], str] = {}
    queue: list[tuple[str, type[BaseModel]]] = [("recipe", Recipe)]
    while queue:
        path, model = queue.pop(0)
        lines += [f"## {path}", "", "| key | type | default | meaning |", "|---|---|---|---|"]
        for name, field in model.model_fields.items():
            inner = section_of(field.annotation)
            shown = _type_name(field.annotation)
            default = "required" if field.is_required() else "…" if inner else f"`{_shown(field.default)}`"
            again = f" As `{paths[inner]}`." if inner in paths else ""
            lines.append(f"| `{name}` | {shown} | {default} | {field.description}{again} |")
            if inner is not None and inner not in paths:
                paths[inner] = name if path == "recipe" else f"{path}.{name}"
                queue.append((paths[inner], inner))
        lines.append("")
    return lines


def section_of(annotation: Any) -> type[Section] | None:
    """The Section inside an annotation such as `tuple[Source, ...]` or `Api | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = section_of(part)
        if found is not None:
            return found
    return None


def _type_name(annotation: Any) -> str:
    """A type as a person says it: `list of text`, `text → number`, `path or none`, a choice of words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(parts[0])
    if origin is Literal:
        return " or ".join(f"`{p}`" for p in parts)
    if origin in (Union, UnionType):
        return " or ".join(_type_name(p) for p in parts)
    if origin is tuple:
        same = [p for p in parts if p is not Ellipsis]
        return f"list of {_type_name(same[0])}" if Ellipsis in parts else " and ".join(_type_name(p) for p in same)
    if origin is dict:
        return f"{_type_name(parts[0])} → {_type_name(parts[1])}"
    words = {str: "text", int: "whole number", float: "number", Decimal: "number", bool: "true or false", Path: "path",
             Any: "anything", type(None): "none"}  # fmt: skip
    return words.get(annotation) or str(annotation.__name__)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple | dict):
        return ", ".join(f"{k}: {value[k]}" if isinstance(value, dict) else str(k) for k in value) or "empty"
    return str(value)


def options_table(options: type[BaseModel]) -> list[str]:
    """A plug-in's options as a Markdown table; empty: it has none."""
    rows = [
        f"| `{name}` | {_type_name(f.annotation)} | {'required' if f.is_required() else f'`{_shown(f.default)}`'} |"
        for name, f in options.model_fields.items()
    ]
    return ["| option | type | default |", "|---|---|---|", *rows] if rows else []
