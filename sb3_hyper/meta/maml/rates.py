"""Learning rates of inner steps, parameter by parameter."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real


def rates_by_parameter(rate: float | str | Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """
    :param rate: A number for all parameters, or numbers by the beginnings of their names (the longest that fits counts).
    :param names: Names of the parameters.
    :return: Name -> rate.
    :raises ValueError: If a parameter has none, a beginning fits nothing, or a rate is no number that is not negative.
    """
    rates = rate if isinstance(rate, Mapping) else {"": rate}
    if any(isinstance(number, bool) or not isinstance(number, Real) for number in rates.values()):
        raise ValueError(f"inner_learning_rate must be a number, numbers by parameter or 'auto', got {rate!r}")
    by_name = {}
    for name in names:
        fitting = [prefix for prefix in rates if name.startswith(prefix)]
        if not fitting:
            raise ValueError(f"inner_learning_rate has nothing for {name}; the key '' is for all that no other is for")
        by_name[name] = float(rates[max(fitting, key=len)])
        if not 0 <= by_name[name] < math.inf:
            raise ValueError(f"inner_learning_rate must be a number that is not negative, got {by_name[name]} for {name}")
    unused = [prefix for prefix in rates if not any(name.startswith(prefix) for name in names)]
    if unused:
        raise ValueError(f"inner_learning_rate: no parameter begins with {', '.join(unused)}. There are {', '.join(names)}")
    return by_name
