"""Students: small encoders that are trained, then saved as sentence-transformers folders."""

from compact_labse.students.config import StudentConfig
from compact_labse.students.ragged import lengths_of
from compact_labse.students.saving import save_student
from compact_labse.students.start import new_student
from compact_labse.students.static import StaticStudent
from compact_labse.students.transformer import TransformerStudent

__all__ = ["StaticStudent", "StudentConfig", "TransformerStudent", "lengths_of", "new_student", "save_student"]
