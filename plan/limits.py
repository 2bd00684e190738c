"""What a metric can be at most: a threshold beyond that is met, or missed, whatever is measured."""

from __future__ import annotations

from plan.units import show


def beyond(metric: str, base: str, value: float, *, written: str, unit: str, steps: int | None) -> tuple[str, str, str] | None:
    """The message, label and help of a fixed threshold `value` that says nothing of its metric; None for all others.

    `base` is the metric's unit, `written` and `unit` what the plan says, `steps` the training steps of the task where something is trained.
    """
    if metric == "accuracy" and base == "" and value > 1:
        help = "write it between 0 and 1, or between 0% and 100%" if unit or value > 100 else f"did you mean `{written}%`?"
        return f"no `accuracy` is larger than 1, and this threshold is {show(value)}", "not a fraction", help
    if metric == "steps_to_99" and steps is not None and value > steps:
        message = f"a run has {steps} steps here, and `steps_to_99` is one more where 99 % was never reached"
        return message, "says nothing of learning", f"write {steps} or fewer, or give the task more steps by its budget"
    return None
