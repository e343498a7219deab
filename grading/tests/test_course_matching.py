"""The match: which course, file and parts a submission is judged by, decided from its source."""

from __future__ import annotations

import pytest
from bn_grading.courses.definitions import Definitions, definitions
from bn_grading.courses.matching import NoMatch, match, recognise
from bn_grading.courses.model import Course, CourseError, built_in, find, parse
from bn_grading.intake.submission import Submission

COURSES = built_in()
KNOWN = tuple(COURSES.values())
CMU, CS231N, TORCH = (COURSES[name] for name in ("cmu-hw1p1", "cs231n", "torch"))

CLASS = "class BatchNorm1d:\n    pass\n"
SPATIAL = "class BatchNorm2d:\n    pass\n"
FUNCTIONS = "def batchnorm_forward(): pass\ndef batchnorm_backward(): pass\n"
MODULE = "from torch import nn\nclass BatchNorm1d(nn.Module):\n    pass\n"


def submitted(
    *,
    module: str | None = None,
    wanted: str | None = None,
    problem: str | None = None,
    **files: str,
) -> Submission:
    """Return a submission; a file's name is given without its ending."""
    named = {f"{name}.py": source for name, source in files.items()}
    return Submission("ada", "ada", named, "", module, wanted, problem)


def recognised(**files: str) -> str | None:
    course = recognise(submitted(**files), KNOWN)
    return None if course is None else course.id


# The course.


@pytest.mark.parametrize(
    ("source", "course"),
    [
        (CLASS, "cmu-hw1p1"),
        (SPATIAL, "cmu-hw1p1"),
        ("class BatchNorm(object): pass\n", "cmu-hw1p1"),
        (FUNCTIONS, "cs231n"),
        ("def batchnorm_backward_alt(): pass\n", "cs231n"),
        (MODULE, "torch"),
        ("import torch.nn as nn\nclass BatchNorm1d(nn.Module): pass\n", "torch"),
        # One that derives from something, but with no framework in sight.
        ("from mytorch import Module\nclass BatchNorm1d(Module): pass\n", "cmu-hw1p1"),
        # A framework that is imported for its tensors alone.
        ("import torch\n" + CLASS, "cmu-hw1p1"),
        ("x = 1\n", None),
        ("", None),
        ("class Norm: pass\n", None),
        ("class Outer:\n    class BatchNorm1d: pass\n", None),
        # A file that does not parse is still somebody's.
        ("class BatchNorm1d:\n    def forward(self:\n", "cmu-hw1p1"),
        ("def batchnorm_forward(x:\n", "cs231n"),
    ],
)
def test_a_course_is_recognised_by_what_a_file_defines(source: str, course: str | None) -> None:
    assert course == recognised(bn=source)


def test_the_course_most_of_whose_names_are_defined_is_taken() -> None:
    assert "cs231n" == recognised(bn=CLASS + FUNCTIONS)
    assert "cmu-hw1p1" == recognised(bn=CLASS + SPATIAL + "def batchnorm_forward(): pass\n")
    assert "cs231n" == recognised(one=CLASS, two=FUNCTIONS)


def test_of_courses_that_fit_alike_the_first_is_taken() -> None:
    submission = submitted(bn=CLASS + "def batchnorm_forward(): pass\n")
    assert CMU is recognise(submission, (CMU, CS231N))
    assert CS231N is recognise(submission, (CS231N, CMU))


def test_a_class_that_derives_from_something_is_no_frameworks_without_its_import() -> None:
    derived = submitted(bn="from mytorch import Module\nclass BatchNorm1d(Module): pass\n")
    assert CMU is recognise(derived, (TORCH, CMU))
    assert recognise(derived, (TORCH,)) is None


@pytest.mark.parametrize("made", ["Norm", "Norm[1]", "make(Norm, 1)"])
def test_what_is_made_of_a_frameworks_class_is_the_frameworks(made: str) -> None:
    source = f"import torch\nclass Norm(torch.nn.Module): pass\nBatchNorm1d = {made}\n"
    assert TORCH is recognise(submitted(bn=source), KNOWN)
    assert CMU is recognise(
        submitted(bn=f"import torch\nclass Norm: pass\nBatchNorm1d = {made}\n"), KNOWN
    )


def test_an_installed_module_is_a_frameworks() -> None:
    assert TORCH is recognise(submitted(module="torch.nn", wanted="BatchNorm1d"), KNOWN)
    assert recognise(submitted(module="torch.nn"), (CMU, CS231N)) is None


def test_a_class_of_another_name_is_recognised_when_it_is_asked_for() -> None:
    plain = submitted(bn="class Mine: pass\n", wanted="Mine")
    derived = submitted(bn="from torch import nn\nclass Mine(nn.Module): pass\n", wanted="Mine")
    assert CMU is recognise(plain, KNOWN)
    assert TORCH is recognise(derived, KNOWN)
    assert recognise(submitted(bn="x = 1\n", wanted="Mine"), KNOWN) is None


def test_a_named_course_is_not_second_guessed() -> None:
    found = match(submitted(bn=CLASS + FUNCTIONS), CMU, KNOWN)
    assert CMU is found.course
    assert "bn.py" == found.file
    assert CMU.parts == found.parts
    assert "ada" == found.submission.id


# The file.


def test_the_one_file_that_defines_what_is_asked_for_is_graded() -> None:
    found = match(submitted(util="x = 1\n", norm=CLASS, other="y = 2\n"), None, KNOWN)
    assert (CMU, "norm.py", CMU.parts) == (found.course, found.file, found.parts)


def test_the_main_parts_file_is_taken_before_another_parts() -> None:
    spatial = "def spatial_batchnorm_forward(): pass\n"
    assert "layers.py" == match(submitted(more=spatial, layers=FUNCTIONS), CS231N, KNOWN).file
    assert "more.py" == match(submitted(more=spatial, util="x = 1\n"), CS231N, KNOWN).file


def refused(submission: Submission, course: Course | None = None) -> NoMatch:
    with pytest.raises(NoMatch) as caught:
        match(submission, course, KNOWN)
    return caught.value


def test_what_two_files_define_is_refused_and_both_are_named() -> None:
    error = refused(submitted(b=CLASS, a=CLASS, c="x = 1\n"))
    listed = " or ".join(sorted(CMU.main_names))
    assert f"several files define {listed}: a.py, b.py" == str(error)
    assert CMU is error.course


def test_what_two_files_define_besides_the_main_part_is_refused_as_missing() -> None:
    spatial = "def spatial_batchnorm_forward(): pass\n"
    error = refused(submitted(a=spatial, b=spatial))
    assert "it does not define batchnorm_backward or batchnorm_forward" == str(error)


def test_a_named_course_that_does_not_fit_is_refused_with_its_names() -> None:
    error = refused(submitted(bn=CLASS), CS231N)
    assert "it does not define batchnorm_backward or batchnorm_forward" == str(error)
    assert CS231N is error.course


def test_what_fits_no_course_is_told_what_would() -> None:
    error = refused(submitted(bn="x = 1\n"))
    assert (
        "it defines nothing that a course asks for (such as BatchNorm1d, batchnorm_forward); "
        "a class of another name is asked for as file.py:Class"
    ) == str(error)
    assert error.course is None


@pytest.mark.parametrize(("files", "course"), [({}, None), ({"bn": CLASS}, CMU)])
def test_what_cannot_be_read_is_refused_for_that_reason(
    files: dict[str, str], course: Course | None
) -> None:
    error = refused(submitted(problem="bn.py cannot be read", **files))
    assert "bn.py cannot be read" == str(error)
    assert course is error.course


# The parts.


def test_a_class_that_is_asked_for_stands_for_the_part_of_its_shape() -> None:
    for wanted, axes, id_ in (("Mine", 0, "layer"), ("Mine2d", 2, "layer2d")):
        found = match(submitted(bn=f"class {wanted}: pass\n", wanted=wanted), None, KNOWN)
        (part,) = found.parts
        assert (CMU, id_, axes) == (found.course, part.id, part.spatial_axes)
        assert (wanted,) == part.names
        assert CMU.parts[0].names != part.names, "the course itself stays as it is"


def test_the_asked_for_class_decides_the_file() -> None:
    found = match(submitted(a=CLASS, b="class Mine: pass\n", wanted="Mine"), None, KNOWN)
    assert "b.py" == found.file


def test_a_three_dimensional_class_needs_a_course_that_has_one() -> None:
    error = refused(submitted(bn="class Mine3d: pass\n", wanted="Mine3d"), CMU)
    assert "the course cmu-hw1p1 has no class that Mine3d could stand for" == str(error)
    assert CMU is error.course


def test_a_course_of_functions_has_no_class_to_stand_for() -> None:
    error = refused(submitted(bn="class Mine: pass\n", wanted="Mine"), CS231N)
    assert "the course cs231n has no class that Mine could stand for" == str(error)


def test_an_installed_module_has_no_file() -> None:
    found = match(submitted(module="torch.nn", wanted="BatchNorm3d"), None, KNOWN)
    assert (TORCH, None) == (found.course, found.file)
    (part,) = found.parts
    assert (3, ("BatchNorm3d",)) == (part.spatial_axes, part.names)


# What a source defines.


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("class A: pass\ndef b(): pass\nc = 1\n", Definitions(frozenset("Abc"), frozenset())),
        ("class A(object): pass\n", Definitions(frozenset("A"), frozenset())),
        (
            "class A(B): pass\nclass C(x.D): pass\n",
            Definitions(frozenset("AC"), frozenset(), frozenset("AC")),
        ),
        (
            "import a.b, c\nfrom d.e import f\nfrom . import g\nfrom .h import i\n",
            Definitions(frozenset(), frozenset("acd")),
        ),
        (
            "if x:\n  import a\nelse:\n  class B: pass\ntry:\n  c = 1\nexcept E:\n  pass\n",
            Definitions(frozenset("Bc"), frozenset("a")),
        ),
        ("def a():\n  class B: pass\n", Definitions(frozenset("a"), frozenset())),
        ("import a\nclass B(:\n", Definitions(frozenset("B"), frozenset("a"), parsed=False)),
        ("\0", Definitions(frozenset(), frozenset(), parsed=False)),
    ],
)
def test_what_a_source_defines_is_found_without_running_it(source: str, found: Definitions) -> None:
    assert found == definitions(source)


# Courses by name.


def test_a_course_is_found_by_its_name_and_an_unknown_name_lists_them() -> None:
    assert "cs231n" == find("cs231n").id
    with pytest.raises(CourseError, match="there are cmu-hw1p1, cs231n, torch, auto"):
        find("cs999")
    with pytest.raises(CourseError, match=r"the course file no\.toml cannot be read"):
        find("no.toml")


COURSE = """
id = "made"
title = "made"
profile = "cs231n"
[[parts]]
id = "layer"
title = "Norm"
group = "layer"
families = ["training"]
[parts.interface]
kind = "class"
classes = ["Norm"]
arguments = ["features", "momentum"]
mode = [{ argument = "training", train = true, infer = false }]
[parts.interface.attributes]
eps = ["eps"]
gamma = ["gamma"]
beta = ["beta"]
dgamma = ["dgamma"]
dbeta = ["dbeta"]
running_mean = ["mean"]
running_var = ["var"]
[[parts]]
id = "more"
title = "More"
group = "more"
[parts.interface]
kind = "functions"
forward = "more_forward"
backward = "more_backward"
identified_by = ["more_forward"]
settings = { eps = "eps", momentum = "momentum", mean = "running_mean", var = "running_var" }
train_mode = "train"
infer_mode = "test"
[points]
"training.agreement" = 1
"""


def test_a_courses_limits_are_what_its_file_says() -> None:
    said = "[limits]\nstart = 5\ncall = 0.5\nsubmission = 20\ncpu = 3\nmemory = 512\noutput = 64\n"
    limits = parse(COURSE.replace("[points]", f"{said}[points]"), "made.toml").limits
    assert (5.0, 0.5, 20.0, 3.0, 512, 64) == (
        limits.start,
        limits.call,
        limits.submission,
        limits.processor,
        limits.memory,
        limits.output,
    )
    assert 30.0 == CMU.limits.processor
    assert 90.0 == TORCH.limits.processor


@pytest.mark.parametrize(
    ("was", "becomes", "reason"),
    [
        ('"training.agreement"', '"training.nothing"', "'training.nothing' is not a property"),
        ('"training.agreement"', '"odd/training.agreement"', "'odd' is not a part"),
        ('"training.agreement"', '"layer/training.agreement"', "need no prefix"),
        ('"training.agreement"', '"backward.input_gradient"', "nobody could earn them"),
        ('"training.agreement"', '"population.mean_of_means"', "nobody could earn them"),
        ("[points]", '[hidden]\n"training.no" = ""\n[points]', "hidden: 'training.no' is not"),
        ("[points]", '[hidden]\n"odd/training.agreement" = ""\n[points]', "hidden: 'odd' is not"),
        ("= 1", "= -1", "must be worth at least 0"),
        ("= 1", "= inf", "must be worth at least 0"),
        ('"cs231n"', '"nowhere"', "profile"),
        ('["training"]', '["odd"]', "'odd' is none of"),
        ('id = "more"', 'id = "layer"', "layer"),
        ('kind = "class"', 'kind = "module"', "needs runtime 'torch'"),
        ('arguments = ["features", "momentum"]\n', "", "nothing takes the momentum"),
        ('dgamma = ["dgamma"]\n', "", "attributes: nothing is said of dgamma"),
        ('gamma = ["gamma"]', "gamma = []", "attributes.gamma"),
        (', mean = "running_mean"', "", "settings: nothing is said of running_mean"),
        ('classes = ["Norm"]', "classes = []", "classes"),
        ('["more_forward"]', "[]", "identified_by"),
        ('infer_mode = "test"', 'infer_mode = "train"', "both 'train'"),
        ("infer = false", "infer = true", "must differ"),
        ("mode = [{ argument", "# [{ argument", "mode: a forward needs an argument"),
        ('["more_forward"]', '["Norm"]', "'layer' and 'more' both go by Norm"),
        ("title", "titel", "title: Field required"),
        ("[points]", "[points", "is not TOML"),
        ("[points]", "[limits]\ncall = 0\n[points]", "limits.call: Input should be greater than 0"),
        ("[points]", "[limits]\nstart = inf\n[points]", "limits.start: Input should be a finite"),
        ("[points]", "[limits]\nsubmission = nan\n[points]", "limits.submission: Input should be"),
        ("[points]", "[limits]\ncpu = -3\n[points]", "limits.cpu: Input should be greater than 0"),
        ("[points]", "[limits]\ncpu = 1e9\n[points]", "limits.cpu: Input should be less than"),
        ("[points]", "[limits]\nmemory = 8\n[points]", "limits.memory: Input should be greater"),
        ("[points]", "[limits]\nmemory = 9e18\n[points]", "limits.memory: Input should be less"),
        ("[points]", "[limits]\noutput = 0\n[points]", "limits.output: Input should be greater"),
        (
            "[points]",
            '[limits]\noutput = "all"\n[points]',
            "limits.output: Input should be a",
        ),
        ("[points]", "[limits]\nprocesses = 3\n[points]", "limits.processes: Extra inputs are not"),
    ],
)
def test_a_course_that_is_wrong_is_refused_in_one_line(was: str, becomes: str, reason: str) -> None:
    assert ("made", 1.0) == (parse(COURSE, "made.toml").id, parse(COURSE, "made.toml").max_score)
    with pytest.raises(CourseError) as caught:
        parse(COURSE.replace(was, becomes), "made.toml")
    text = str(caught.value)
    assert reason in text
    assert text.startswith("the course file made.toml is ")
    assert "\n" not in text
