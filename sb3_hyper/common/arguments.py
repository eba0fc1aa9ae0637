"""What a class accepts, for messages that say so."""

import contextlib
import inspect
import numbers
from collections.abc import Collection, Iterator

#: Algorithms give these to their policies themselves.
GIVEN = {"self", "observation_space", "action_space", "lr_schedule"}


def accepted_arguments(cls: type) -> list[str]:
    """
    :param cls: A class whose constructors may hand ``**kwargs`` to the next.
    :return: Names that can be given, sorted.
    """
    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names |= {parameter.name for parameter in parameters if parameter.kind in by_name}
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
    return sorted(names - GIVEN)


def refuse_unknown(cls: type, given: Collection[str], hint: str = "") -> None:
    """
    :param cls: A class.
    :param given: Names of arguments.
    :param hint: What else may help.
    :raises ValueError: If the class does not take one of them; the message lists what it takes, but for what its
        ``set_by_learner`` names.
    """
    accepted = accepted_arguments(cls)
    if unknown := sorted(set(given) - set(accepted)):
        offered = ", ".join(name for name in accepted if name not in getattr(cls, "set_by_learner", ()))
        raise ValueError(f"{cls.__name__} knows no {', '.join(unknown)}. Accepted: {offered}.{hint}")


def refuse_less(minimum: int, **counts: int) -> None:
    """
    :param minimum: The smallest number that is accepted.
    :param counts: Arguments by name.
    :raises ValueError: If one is smaller, or no whole number; the message names it.
    """
    for name, count in counts.items():
        if not isinstance(count, numbers.Integral) or count < minimum:
            raise ValueError(f"{name} must be a whole number of at least {minimum}, got {count!r}")


@contextlib.contextmanager
def listing_accepted(cls: type, given: Collection[str], hint: str = "") -> Iterator[None]:
    """
    For constructors that may do as they like with their arguments: they are called, and if they find one unexpected, the
    message lists those that are accepted.

    :param cls: A class.
    :param given: Names of arguments.
    :param hint: What else may help.
    :return: A context to make an object of the class in.
    """
    try:
        yield
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            refuse_unknown(cls, given, hint)
        raise
