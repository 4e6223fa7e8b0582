"""The digest of code follows what shapes a result, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numba
import pytest

from freqd import provenance
from freqd.numerics.jit import _cache_folder
from tasks.experiments.compare import mastery
from tasks.stages.baselines import baselines
from tasks.stages.distill import distill
from tasks.stages.evaluate import evaluate
from tasks.stages.graphs import graph
from tasks.stages.ingest import ingest
from tasks.stages.register import register
from tasks.stages.spectrum import spectrum
from tasks.stages.teacher import teacher


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "freqd"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "deep" / "__init__.py").write_text("")
    (package / "top.py").write_text("def go():\n    from freqd.deep.low import f\n    return f()\n")
    (package / "deep" / "low.py").write_text('"""Doc."""\ndef f():\n    """Doc."""\n    return 1\n')
    (package / "other.py").write_text("x = 1\n")
    monkeypatch.setattr(provenance, "SOURCE_ROOT", tmp_path)
    provenance._module.cache_clear()
    yield package
    provenance._module.cache_clear()


def digest(*names: str) -> str:
    provenance._module.cache_clear()
    return provenance.code_digest(names)


def test_a_change_deep_down_changes_the_digest(tree: Path) -> None:
    before = digest("freqd.top")
    (tree / "deep" / "low.py").write_text("def f():\n    return 2\n")
    assert digest("freqd.top") != before


def test_comments_docstrings_and_layout_do_not(tree: Path) -> None:
    before = digest("freqd.top")
    (tree / "deep" / "low.py").write_text('"""Other doc."""\n\n\n# why\ndef f():\n    """Another."""\n    return (1)\n')
    assert digest("freqd.top") == before


def test_what_is_not_imported_does_not(tree: Path) -> None:
    before = digest("freqd.top")
    (tree / "other.py").write_text("x = 2\n")
    assert digest("freqd.top") == before


def test_a_star_takes_in_a_whole_package(tree: Path) -> None:
    before = digest("freqd.deep.*")
    (tree / "deep" / "new.py").write_text("y = 1\n")
    assert digest("freqd.deep.*") != before


def test_an_unknown_module_is_an_error(tree: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"freqd\.nothing"):
        digest("freqd.nothing")


def test_versions_and_environment_name_what_ran() -> None:
    assert provenance.versions()["torch"].startswith("2.")
    facts = provenance.environment()
    assert facts.memory_bytes > 2**28
    assert facts.cores >= 1
    assert len(provenance.lock_digest()) == 64


def _followed(module: str) -> set[str]:
    """All modules whose code is in the digest of ``module``."""
    seen, pending = set(), [module]
    while pending:
        name = pending.pop()
        if name not in seen and name not in provenance.UNHASHED:
            seen.add(name)
            pending += provenance._module(name)[1]
    return seen


def test_the_key_of_every_stage_holds_its_own_module_and_what_it_computes_with() -> None:
    """What a stage does by itself, such as how many users it asks, shapes its result as much as the library does."""
    assert {"tasks.stages.distill", "freqd.distill.objectives.rce", "freqd.training.adam"} <= _followed(distill.module)
    assert {"tasks.stages.spectrum", "freqd.spectral.band_weights"} <= _followed(spectrum.module)
    assert {"tasks.stages.evaluate", "freqd.evaluate.metrics"} <= _followed(mastery.module)
    assert "freqd.serve.recommender" in _followed(register.module)


def test_how_a_report_is_worded_makes_no_stage_anew() -> None:
    for one in (ingest, graph, teacher, baselines, spectrum, distill, evaluate, register):
        assert not [name for name in _followed(one.module) if name.startswith("freqd.report.run")], one.name
    assert not [name for name in _followed(distill.module) if name == "tasks.stages.evaluate"]


def test_a_package_that_imports_all_its_modules_is_followed_into_all(tree: Path) -> None:
    (tree / "deep" / "__init__.py").write_text(
        "import pkgutil\nfor m in pkgutil.iter_modules(__path__):\n    print(m)\n"
    )
    before = digest("freqd.deep")
    (tree / "deep" / "new.py").write_text("y = 1\n")
    assert digest("freqd.deep") != before


def test_the_cache_of_compiled_code_is_that_of_the_present_kernels(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from numba import njit\nONE = 1\n")
    (tmp_path / "b.py").write_text("ONE = 1\n")
    first = _cache_folder(tmp_path)
    (tmp_path / "b.py").write_text("ONE = 2\n")
    assert _cache_folder(tmp_path) == first, "a module without kernels"
    (tmp_path / "a.py").write_text("from numba import njit\nONE = 2\n")
    assert _cache_folder(tmp_path) != first, "also for the callers of this kernel in other files"
    assert Path(numba.config.CACHE_DIR).parent.name == "__pycache__"  # type: ignore[attr-defined]
