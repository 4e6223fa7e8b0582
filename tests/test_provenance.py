"""The digest of code follows what shapes a result, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import numba
import pytest

from freqd import provenance
from freqd.numerics.jit import _cache_folder
from freqd.provenance import SOURCE_ROOT


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
    assert facts["memory_bytes"] > 2**28
    assert facts["cores"] >= 1
    assert len(provenance.lock_digest()) == 64


def test_the_key_of_every_stage_holds_the_code_of_its_own_module() -> None:
    """What a stage computes by itself, such as how many users it asks, shapes its result as much as the library does."""
    for path in sorted((SOURCE_ROOT / "tasks").glob("*.py")):
        tree = ast.parse(path.read_text())
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "run_stage":
                code = ast.unparse(next(keyword.value for keyword in call.keywords if keyword.arg == "code"))
                assert "__name__" in code or code == "CODE", path
    from tasks.stages.distill import CODE

    assert "tasks.stages.distill" in CODE


def test_the_cache_of_compiled_code_is_that_of_the_present_kernels(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from numba import njit\nONE = 1\n")
    (tmp_path / "b.py").write_text("ONE = 1\n")
    first = _cache_folder(tmp_path)
    (tmp_path / "b.py").write_text("ONE = 2\n")
    assert _cache_folder(tmp_path) == first, "a module without kernels"
    (tmp_path / "a.py").write_text("from numba import njit\nONE = 2\n")
    assert _cache_folder(tmp_path) != first, "also for the callers of this kernel in other files"
    assert Path(numba.config.CACHE_DIR).parent.name == "__pycache__"  # type: ignore[attr-defined]
