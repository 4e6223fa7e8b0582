"""`freqd compare`: many methods, sizes and seeds against each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.cli.methods import BASELINES, resolve, tuned, words_of
from flows.cli.options import DONE, NO_SETTINGS, SettingsFrom, Workdir, check_file, check_name, start
from flows.cli.output import say, say_places, width
from freqd.errors import InputError

if TYPE_CHECKING:
    from freqd.config import ComparisonPlan, MethodConfig, RunConfig
    from freqd.report.comparison_result import ComparisonResult


@Parameter(name="*")
@dataclass(frozen=True)
class MethodResult:
    """What is compared."""

    methods: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True,
            help="scratch, svd, filtered_svd, alone, objectives, or sums of them such as freqd+rce; options in brackets, rce[filtered=false] "
            "[the settings' own objectives].",
        ),
    ] = None
    tuned_: Annotated[
        list[Path] | None,
        Parameter(
            "--tuned",
            consume_multiple=True,
            help="Files of freqd tune: methods with options and step size of their own.",
        ),
    ] = None
    student_dims: Annotated[
        list[str] | None, Parameter(consume_multiple=True, help="Sizes of the students, such as 8,20 [distill.dim].")
    ] = None
    teacher: Annotated[
        str | None,
        Parameter(help="als, bpr, lightgcn, features, lists or one of a plugin, in place of the setting teacher.kind."),
    ] = None
    against: Annotated[
        str | None, Parameter(help="The method that the others are tested against; it is one of them [scratch].")
    ] = None
    seeds: Annotated[
        int | None, Parameter(help="Students of each method and size; the intervals are over them [3].")
    ] = None
    learning_rates: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True,
            help="Step sizes tried for every method, with the first seed, such as 2e-3,5e-3 [distill.learning_rate].",
        ),
    ] = None
    weight_decays: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, help="L2 strengths tried with each of the step sizes [distill.weight_decay]."),
    ] = None

    def plan(self, settings: RunConfig, data: Sequence[str]) -> ComparisonPlan:
        """The comparison that is asked for.

        Raises:
            InputError: a method or a size does not exist, or two data sets are called the same.
        """
        from freqd.config import ComparisonPlan

        chosen = _methods(settings, self.methods, self.tuned_ or ())
        against = self.against or BASELINES[0]
        if against not in (*BASELINES, *chosen):
            raise InputError(
                f"--against {against!r} is not among the methods",
                f"name one of {', '.join((*BASELINES, *chosen))}",
            )
        texts = [str(settings.distill.dim)] if self.student_dims is None else words_of(self.student_dims)
        return ComparisonPlan(
            methods=chosen,
            dims=sizes(settings, texts),
            seeds=SEEDS if self.seeds is None else self.seeds,
            data=_different(settings, words_of(data)),
            against=against,
            learning_rates=_floats("--learning-rates", self.learning_rates),
            weight_decays=_floats("--weight-decays", self.weight_decays),
        )


SEEDS = 3
COMPARED = MethodResult()


@Parameter(name="*")
@dataclass(frozen=True)
class Place:
    """Where the comparison goes."""

    workdir: Workdir = None
    name: Annotated[str | None, Parameter(help="Name of the comparison [data sets and time].")] = None
    out: Annotated[Path | None, Parameter(help="Also write tables and figures into this folder.")] = None

    def checked(self) -> Path | None:
        """The folder that gets a copy of all files, if there is one.

        Raises:
            InputError: the name is none, or the folder cannot be written.
        """
        check_name(self.name)
        out = self.out and self.out.expanduser()
        if out is not None and out.exists() and not out.is_dir():
            raise InputError(f"--out {out} is a file", "name a folder")
        check_file("--out", out and out / "comparison.json")
        return out


PLACE = Place()


def compare(
    *,
    data: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, help="Named data sets or files, each compared on its own [data.source]."),
    ] = None,
    compared: MethodResult = COMPARED,
    given: SettingsFrom = NO_SETTINGS,
    place: Place = PLACE,
    case: Annotated[
        list[str] | None,
        Parameter(
            consume_multiple=True, help="Cases of a preset of comparisons, such as freqd or results [all of them]."
        ),
    ] = None,
) -> int:
    """Compare distillation methods: each teacher once, then all students; tables, figures and MLflow runs.

    The no-distillation baseline and the SVD student are always included. What earlier runs computed is used again,
    and a comparison that was killed resumes when the same command is given again.

    A preset of comparisons (freqd, results) names methods, data and seeds itself: each of its cases is a comparison of its own.
    """
    from freqd.config import load

    if compared.seeds is not None and compared.seeds < 1:
        raise InputError(
            f"--seeds must be at least 1, got {compared.seeds}", "3 or more give an interval worth reading"
        )
    if given.preset in load.comparison_names():
        return _cases(given, compared, words_of(case or []), place)
    if case is not None:
        raise InputError(
            "--case names a part of a preset of comparisons", f"give --preset {load.comparison_names()[0]} too"
        )
    kind = [] if compared.teacher is None else [f"teacher.kind={compared.teacher}"]
    settings = given.read(None, *kind)
    out = place.checked()
    plan = compared.plan(settings, data or [])
    result = start(settings, place.workdir, "compare:comparison", sources=plan.data, plan=plan, name=place.name)
    from freqd.report.comparison_result import ComparisonResult

    _show(ComparisonResult.model_validate(result), out)
    return DONE


def _cases(given: SettingsFrom, compared: MethodResult, chosen: Sequence[str], place: Place) -> int:
    """The comparisons of a preset, one after the other, each under its own name; what ``compared`` names wins.

    Raises:
        InputError: there is no such case.
    """
    from freqd.config import load
    from freqd.report.comparison_result import ComparisonResult

    name = str(given.preset)
    preset = load.comparison(name)
    for each in chosen:
        if each not in preset.cases:
            raise InputError(f"there is no case {each!r}", f"cases are: {', '.join(preset.cases)}")
    out = place.checked()
    for each in chosen or preset.cases:
        case = preset.cases[each]
        settings = given.read(base=[preset.settings, case.settings])
        own = replace(
            compared,
            methods=compared.methods or list(preset.methods),
            against=compared.against or preset.against,
            seeds=compared.seeds or case.seeds or preset.seeds,
            learning_rates=compared.learning_rates or list(map(str, preset.learning_rates)),
            weight_decays=compared.weight_decays or list(map(str, preset.weight_decays)),
        )
        plan = own.plan(settings, [])
        result = start(settings, place.workdir, "compare:comparison", plan=plan, name=f"{place.name or name}-{each}")
        _show(ComparisonResult.model_validate(result), out and out / each)
    return DONE


def _floats(option: str, words: Sequence[str] | None) -> tuple[float, ...]:
    """Numbers of an option.

    Raises:
        InputError: one is none.
    """
    try:
        return tuple(float(word) for word in words_of(words or []))
    except ValueError as error:
        raise InputError(f"{option}: {error}", f"for example {option} 2e-3,5e-3") from error


def _show(result: ComparisonResult, out: Path | None) -> None:
    """The tables, and where they are; ``out`` gets a copy of all files."""
    from freqd.report.comparison import plain
    from freqd.storage.files import storage_error, write_atomic

    folder = Path(result.folder)
    if out is not None:
        try:
            for path in sorted(folder.iterdir()):
                write_atomic(out / path.name, path.read_bytes())
        except OSError as error:
            raise storage_error(error, out) from error
    say()
    say(plain(result, width()))
    say_places([("tables", out or folder), ("MLflow run", result.mlflow.run_id)])


def _methods(settings: RunConfig, words: Sequence[str] | None, files: Sequence[Path]) -> dict[str, MethodConfig]:
    """Methods by name; those of files need no others beside them."""
    from freqd.config import MethodConfig

    named = {} if words is None and files else resolve(settings, None if words is None else words_of(words))
    return {**{name: MethodConfig(objectives=terms) for name, terms in named.items()}, **tuned(files)}


def sizes(settings: RunConfig, texts: Iterable[str]) -> tuple[int, ...]:
    """The students' sizes, ascending.

    Raises:
        InputError: one is not a number in the range of ``distill.dim``, or there is none.
    """
    from pydantic import ValidationError

    from freqd.config import DistillConfig

    found = set()
    for text in texts:
        try:
            found.add(DistillConfig.model_validate({**settings.distill.model_dump(), "dim": text}).dim)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise InputError(f"--student-dims {text!r}: {reason}", "for example --student-dims 8,20") from error
    if not found:
        raise InputError("--student-dims names no size", "for example --student-dims 8,20")
    return tuple(sorted(found))


def _different(settings: RunConfig, names: Sequence[str]) -> tuple[str, ...]:
    """The data sets' names, which are folders' and figures' names too.

    Raises:
        InputError: two would be called the same.
    """
    from freqd.data.sources import name_of

    labels = [name_of(settings.data.of(name)) for name in names]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"two data sets are called {label!r}", "rename one of the files")
    return tuple(names)
