"""The checker of the contract: it lists where two engines differ in names, kinds, signatures and types."""

import inspect
import re

#: An engine's own words for what both have.
SAME_WORDS = [
    (r"\b(torch|tf)\.Tensor\b", "Tensor"),
    (r"\bpl\.Trainer\b", "Trainer"),
    (r"\b(nn\.Module|keras\.layers\.Layer)\b", "Module"),
]

#: Members that one engine has and the other has not, and why.
EXCEPTIONS = {
    "how each framework calls a layer, and keeps its mode": {"call", "forward", "train"},
    "hooks that Lightning calls": {
        "configure_optimizers",
        "on_load_checkpoint",
        "on_save_checkpoint",
        "on_train_epoch_start",
        "on_train_start",
        "on_validation_epoch_end",
        "on_validation_epoch_start",
        "setup",
        "training_step",
        "validation_step",
    },
    "steps that Keras calls": {"compile", "metrics", "test_step", "train_step"},
    "what the callbacks of Keras ask a model; Lightning's hooks do it inside": {
        "forget_graphs",
        "keep_losses",
        "loss_variables",
        "recent_losses",
        "seed_dropout",
        "seeded_dropout",
        "step",
        "training_scores",
        "on_devices_of",
        "validate_batch",
    },
    "what Lightning's callback asks a model; those of Keras know it by themselves": {"check_training"},
    "torch keeps parameters under timm's names by itself": {"timm_variables"},
    "set by the trainer; Lightning's base class has it": {"trainer"},
}

EXEMPT = set().union(*EXCEPTIONS.values())

#: Keras hands this down as an argument; torch keeps it in each module.
KERAS_ONLY_PARAMETER = "training"


def differences(first, second, modules):
    """One line for each difference between two engines, over the named modules."""
    found = []
    for module in modules:
        ours, theirs = getattr(first, module), getattr(second, module)
        if sorted(ours.__all__) != sorted(theirs.__all__):
            found.append(f"{module}: __all__ {sorted(ours.__all__)} against {sorted(theirs.__all__)}")
        for name in sorted(set(ours.__all__) & set(theirs.__all__)):
            found += _compare(f"{module}.{name}", getattr(ours, name), getattr(theirs, name))
    return found


def _compare(path, ours, theirs):
    if inspect.isclass(ours) != inspect.isclass(theirs):
        return [f"{path}: a class in one engine only"]
    if not inspect.isclass(ours):
        return _compare_signatures(path, ours, theirs)
    found = _compare_signatures(f"{path}()", ours.__init__, theirs.__init__)
    members, others = _members(ours), _members(theirs)
    found += [f"{path}.{name}: in one engine only" for name in sorted((set(members) ^ set(others)) - EXEMPT)]
    for name in sorted((set(members) & set(others)) - EXEMPT):
        found += _compare_members(f"{path}.{name}", members[name], others[name])
    return found


def _members(cls):
    """Public members that Zoobot itself defines, in the class or in its bases."""
    own = [base for base in reversed(cls.__mro__) if base.__module__.startswith("zoobot")]
    return {name: m for base in own for name, m in vars(base).items() if not name.startswith("_")}


def _compare_members(path, ours, theirs):
    if type(ours) is not type(theirs):
        return [f"{path}: {type(ours).__name__} against {type(theirs).__name__}"]
    if isinstance(ours, property):
        return []
    ours, theirs = (getattr(m, "__func__", m) for m in (ours, theirs))
    return _compare_signatures(path, ours, theirs) if inspect.isfunction(ours) else []


def _compare_signatures(path, ours, theirs):
    mine, other = _described(ours), _described(theirs)
    return [] if mine == other else [f"{path}: ({', '.join(mine)}) against ({', '.join(other)})"]


def _described(function):
    """The parameters of a function, and what it returns, in words that engines share."""
    signature = inspect.signature(function)
    described = [
        f"{p.kind.name.lower()} {p.name}: {_words(p.annotation)} = {_default(p.default)}"
        for p in signature.parameters.values()
        if p.name != KERAS_ONLY_PARAMETER
    ]
    return [*described, f"-> {_words(signature.return_annotation)}"]


def _default(value):
    return "required" if value is inspect.Parameter.empty else repr(value)


def _words(annotation):
    if annotation is inspect.Parameter.empty:
        return "anything"
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    for own, shared in SAME_WORDS:
        text = re.sub(own, shared, text)
    return text
