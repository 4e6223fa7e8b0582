"""Who is drawn how: one colour, marker and name a role, the same in every figure and table.

The colours follow the set of Okabe and Ito (2008), the vermilion a little darker: readers with any kind of colour blindness can tell
apart; the marker repeats the information for print without colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freqd.report.run_result_parts import ModelName


@dataclass(frozen=True)
class Role:
    """One of the compared models: its key in the summary and its appearance.

    Attributes:
        key: its name in the summary.
        label: its name for a reader.
        phrase: how a sentence calls it.
        colour: hexadecimal RGB.
        marker: matplotlib's letter of its marker.
    """

    key: ModelName
    label: str
    phrase: str
    colour: str
    marker: str


TEACHER = Role("teacher", "Teacher", "the teacher", "#0072B2", "s")
SCRATCH = Role("scratch", "No-distillation baseline", "the no-distillation baseline", "#7F7F7F", "D")
SVD = Role("svd", "SVD of teacher", "the SVD student", "#E69F00", "^")
STUDENT = Role("student", "Student", "the student", "#C84C00", "o")

ROLES = (TEACHER, SCRATCH, SVD, STUDENT)

INK = "#1F2328"
SOFT_INK = "#59636E"
GRID = "#E3E6EA"
FILTER = "#6A3D9A"
