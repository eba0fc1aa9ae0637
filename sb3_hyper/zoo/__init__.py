"""
The rl-zoo3 front door: ``python -m sb3_hyper.zoo train|enjoy ...``.

Takes the arguments of ``rl_zoo3.train`` and ``rl_zoo3.enjoy``. Hyperparameters come from this package's YAML files
where none are named, and training ends with a learning curve. ``train`` has two arguments more: ``--preset bounded|paper``
chooses among the YAML files; with ``--resume`` a run that was interrupted goes on when the command is repeated.
Meta-learners (``--algo pearl``) are evaluated by their adaptation, and adapt to a test task before one can watch them.
"""

from importlib.util import find_spec

if find_spec("rl_zoo3") is None:
    raise ImportError('sb3_hyper.zoo needs rl-zoo3, which is not installed: pip install "sb3_hyper[zoo]"')
