import logging
import os
import shutil
import stat

import pytest

from llmdemo.core import compiled

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own, and nothing loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "_loaded", {})
    return tmp_path / "cache" / "llmdemo" / "compiled"


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "more.h").write_text("#define MORE 40\n")
    (folder / "two.c").write_text('#include "more.h"\nlong two(void) { return MORE + 2; }\n')
    return folder / "two.c"


@needs_gcc
def test_a_file_is_compiled_once_for_all_processes_of_this_machine(cache, source, monkeypatch):
    assert compiled.library(source).two() == 42
    (built,) = cache.glob("*.so")
    monkeypatch.setattr(compiled, "_loaded", {})
    monkeypatch.setattr(compiled, "_compile", lambda *args: pytest.fail("it was compiled again"))
    assert compiled.library(source).two() == 42
    assert {path.name for path in cache.iterdir()} == {built.name, "lock"}  # nothing half-built is left


@needs_gcc
def test_a_changed_header_or_flag_is_another_library(cache, source, monkeypatch):
    compiled.library(source)
    (source.parent / "more.h").write_text("#define MORE 0\n")
    monkeypatch.setattr(compiled, "_loaded", {})
    assert compiled.library(source).two() == 2
    assert compiled.library(source, ("-DUNUSED",)).two() == 2
    assert len(list(cache.glob("*.so"))) == 3


@needs_gcc
def test_code_that_does_not_compile_gives_none_and_says_why(cache, source, caplog):
    source.write_text("long two(void) { return nothing; }")
    with caplog.at_level(logging.WARNING):
        assert compiled.library(source) is None
    assert "two.c is not compiled" in caplog.text and "nothing" in caplog.text
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_a_machine_without_a_compiler_has_no_library(cache, source, monkeypatch):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    assert compiled.library(source) is None and not cache.exists()


@needs_gcc
def test_the_library_shares_the_threads_of_the_openmp_that_is_loaded(cache, source):
    import torch

    source.write_text("#include <omp.h>\nlong two(void) { return omp_get_max_threads(); }")
    before = torch.get_num_threads()
    found = compiled.library(source)
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert found.two() == count
    finally:
        torch.set_num_threads(before)
    (built,) = cache.glob("*.so")
    assert b"libgomp" not in built.read_bytes()  # it would bring threads of its own


@needs_gcc
def test_a_folder_into_which_others_may_write_is_not_run_from(cache, source):
    cache.mkdir(parents=True)
    os.chmod(cache, 0o777)
    assert compiled.library(source).two() == 42
    assert not list(cache.iterdir())
    folder = compiled.cache_folder()
    assert folder != cache and stat.S_IMODE(folder.stat().st_mode) == 0o700


@needs_gcc
def test_a_home_that_cannot_be_written_to_is_no_hindrance(cache, source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiled.library(source).two() == 42
