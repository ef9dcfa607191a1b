"""The lists of `make mutants`: each mutant applies, and each test that it names exists."""

import pytest

from tests.mutants.catalogue import CHECKOUT, Edit, Guard, Mutant, Test, guards, select
from tests.mutants.page import PAGE, page

GUARDS_OF_THE_LIBRARIES = range(1, 27)
MUTANTS = [mutant for guard in guards() for mutant in guard.mutants]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_applies_and_names_tests_that_exist(mutant: Mutant):
    """Where code has moved: change the mutant's old text in tests/mutants/, then its page."""
    assert list(mutant.problems(CHECKOUT)) == []


def test_every_guard_of_the_libraries_has_a_mutant_or_a_reason_for_none():
    numbered = {guard.number: guard for guard in guards() if guard.number is not None}
    assert list(numbered) == list(GUARDS_OF_THE_LIBRARIES)
    for guard in guards():
        assert bool(guard.mutants) != bool(guard.without_mutant), guard.rule


def test_every_guard_says_where_it_is():
    for guard in guards():
        assert guard.where
        assert [place for place in guard.where if not (CHECKOUT / place).exists()] == []


def test_no_two_mutants_have_one_name():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_the_page_of_the_docs_is_made_of_the_lists():
    assert PAGE.read_text() == page(), "make mutants ARGS=--write-page"


def test_mutants_are_selected_by_guard_and_by_name():
    by_number, by_name = select(["1"]), select([MUTANTS[0].name])
    assert by_name == [MUTANTS[0]]
    assert set(by_name) < set(by_number)
    assert select([]) == MUTANTS
    with pytest.raises(ValueError, match="no guard or mutant 27, none"):
        select(["27", "none", "1"])


def test_a_text_that_moved_and_a_test_that_is_missing_are_noticed(tmp_path):
    (tmp_path / "code.py").write_text("if wrong:\n    refuse()\nif wrong:\n    refuse()\n")
    (tmp_path / "test_code.py").write_text("def test_it():\n    pass\n")
    tests = ("test_code.py::test_it", "test_code.py::test_that", "gone.py::test_it")
    mutant = Mutant(
        name="one",
        removes="a check",
        edits=(
            Edit(file="code.py", old="if wrong:\n", new=""),
            Edit(file="code.py", old="if right:\n", new=""),
            Edit(file="gone.py", old="", new=""),
        ),
        tests=tests,
    )
    first, second, *others = mutant.problems(tmp_path)
    assert "2 times" in first
    assert "0 times" in second
    assert others == [
        "gone.py does not exist",
        "test_code.py has no test test_that",
        "gone.py does not exist",
    ]


def test_edits_that_leave_no_python_are_noticed(tmp_path):
    (tmp_path / "code.py").write_text("if wrong:\n    refuse()\n")
    (tmp_path / "test_code.py").write_text("def test_it():\n    pass\n")
    mutant = Mutant(
        name="one",
        removes="a check",
        edits=(Edit(file="code.py", old="    refuse()\n", new=""),),
        tests=("test_code.py::test_it",),
    )
    [problem] = mutant.problems(tmp_path)
    assert problem.startswith("code.py is not Python with the edits")


def test_a_test_whose_daemons_would_not_run_the_mutant_is_refused():
    problem = Test.parse("tests/faults/test_starting.py::test_it").problem(CHECKOUT)
    assert problem is not None
    assert "do not run the mutant" in problem


def test_a_test_is_named_with_its_parameters():
    test = Test.parse("tests/test_a.py::test_it[one-two words]")
    assert (test.path, test.function, test.parameters) == (
        "tests/test_a.py",
        "test_it",
        "one-two words",
    )
    assert test.id == "tests/test_a.py::test_it[one-two words]"
    assert Test.parse("mpc/native/tests/a.rs::it").is_rust


def test_a_guard_without_mutants_says_why_on_the_page():
    assert "no mutant: the guard is an operator's procedure" in page()
    assert Guard(number=16, rule="", where=(), without_mutant="why").mutants == ()
