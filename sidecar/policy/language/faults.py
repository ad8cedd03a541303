"""How an evaluation fails: one class a kind, with texts that never quote a value.

A fault ends in a record, so its text says what was asked for and never what was found. All but
`BudgetExceeded` are absorbed where CEL absorbs errors (`false && fault` is false): a budget that an
expression could step around would be none.

```
Fault              kind               raised when
├─ NoSuchField     no_such_field      a field or key is absent
├─ NoSuchVariable  no_such_variable   a name stands for nothing
├─ NoSuchOverload  no_such_overload   no meaning of the function takes these types
├─ Overflow        overflow           a result is beyond int64, uint64, or the years 1 to 9999
├─ DivideByZero    divide_by_zero     an integer is divided by zero
├─ BadConversion   bad_conversion     a value cannot become the type asked for
├─ InvalidArgument invalid_argument   the type is right and the value is not
├─ IndexOutOfRange index              a position lies outside of a list or text
└─ BudgetExceeded  budget             the work or its result would be too large
```

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#runtime-errors
"""

from typing import ClassVar


class Fault(Exception):
    """An evaluation that has no value."""

    kind: ClassVar[str]
    text: ClassVar[str]
    is_absorbed: ClassVar[bool] = True

    def __init__(self, text: str | None = None) -> None:
        super().__init__(text or self.text)


class NoSuchField(Fault):
    """A field or key is absent."""

    kind = "no_such_field"
    text = "an absent field was read"


class NoSuchVariable(Fault):
    """A name stands for nothing: it was not given, or it is not declared at all."""

    kind = "no_such_variable"
    text = "a variable could not be evaluated"


class NoSuchOverload(Fault):
    """No meaning of the function takes values of these types."""

    kind = "no_such_overload"
    text = "no overload for these types"


class Overflow(Fault):
    """A result cannot be represented."""

    kind = "overflow"
    text = "a number is out of range"


class DivideByZero(Fault):
    """An integer is divided by zero."""

    kind = "divide_by_zero"
    text = "division by zero"


class BadConversion(Fault):
    """A value cannot become the type that was asked for."""

    kind = "bad_conversion"
    text = "a value could not be converted"


class InvalidArgument(Fault):
    """An argument of the right type is not one that the function takes."""

    kind = "invalid_argument"
    text = "an argument is not valid"


class IndexOutOfRange(Fault):
    """A position lies outside."""

    kind = "index"
    text = "an index is out of range"


class BudgetExceeded(Fault):
    """The work, or its result, would be too large; nothing absorbs this."""

    kind = "budget"
    text = "the evaluation budget is exceeded"
    is_absorbed = False
