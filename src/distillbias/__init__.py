"""Does a teacher's inductive bias reach its student through distillation, or only its accuracy?"""

__version__ = "0.1.0"
