"""Asks a language model for a faster or better implementation of what fails; silent unless the run was started with `--proposer URL`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from agents import proposer
from agents.proposer import Endpoint, Refused
from plan.catalogue import HOUSE, decider, shelf
from plan.decision import Action, Candidate, Decision, Situation
from plan.nouns import State, Task, Verdict

MOST = 3
"""Proposals for one task and champion, refused ones included."""
SYSTEM = (
    "You improve the implementation of one building block of a neural network. Answer with exactly one unified diff in a ```diff fence, "
    "with paths `a/modules/...` or `a/kernels/...`, that applies to the file as it is given. Keep the block's name, its Config, what it "
    "computes and its interface; change only how it is computed or what its parameters begin with. Touch no other file. "
    "Nothing but the diff is read."
)


@decider("proposer", source="a language model behind an OpenAI-compatible endpoint")
class Proposer:
    """Proposes patches for tasks whose plan lets them be refactored and whose targets fail."""

    def __init__(self, where: Endpoint | None = None) -> None:
        self.where = where or proposer.from_environment()
        self.asked: dict[tuple[str, str], int] = {}

    def ask(self, situation: Situation) -> Sequence[Decision]:
        if self.where is None:
            return []
        return [decision for task in situation.plan.tasks for decision in self._of(task, situation, self.where)]

    def tell(self, decision: Decision, before: Verdict, after: Verdict) -> None:
        """What came of it is in the ledger, and in the next prompt by way of what was tried."""

    def _of(self, task: Task, situation: Situation, where: Endpoint) -> Iterator[Decision]:
        failing = [verdict for verdict in situation.verdicts if verdict.task == task.id and verdict.state is State.FAIL]
        champion = situation.champions.get(task.id, Candidate(module=task.module, config=task.config))
        evidence = tuple(run.id for run in situation.runs.get(task.id, ()))
        if "refactor" not in task.improve or not failing or not evidence or not situation.trials_left.get(task.id):
            return
        before = [one for one in situation.decisions if one.decider == "proposer" and one.action.task == task.id]
        again = task.id, repr(champion)
        if champion.patch or len(before) + self.asked.get(again, 0) >= MOST:
            return
        self.asked[again] = self.asked.get(again, 0) + 1
        try:
            patch = proposer.only_diff(proposer.ask(where, prompt(task, failing, champion, before)))
            if any(one.action.details.get("patch") == patch for one in before):
                raise Refused("it proposes again what was tried")
            told = self._tried(patch, champion, task)
        except Refused as refused:
            print(f"proposer: {where.name} proposed nothing for `{task.id}`: {refused}", file=sys.stderr)
            return
        digest = hashlib.sha256("\n".join((task.id, patch, *evidence)).encode()).hexdigest()
        yield Decision(
            id="d" + digest[:8],
            decider="proposer",
            action=Action(
                kind="refactor",
                task=task.id,
                details=Candidate(module=champion.module, config=champion.config, patch=patch).details,
            ),
            evidence=evidence,
            expected=1 / (2 + len(before)),
            expects="probability that the patch is promoted (one in so many and two)",
            why=f"{', '.join(f'`{verdict.id}`' for verdict in failing)} fail; {where.name} proposes a patch of {told}",
        )

    def _tried(self, patch: str, champion: Candidate, task: Task) -> str:
        """What the patch changes, in our words; Refused unless it keeps the module's contract in the sandbox."""
        from agents import patch_trial
        from agents.sandbox import Unconfined

        files = patch_trial.files_of(patch)
        block = {key: value for key, value in champion.config.items() if key not in ("decoder", "recipe")}
        try:
            outcome = patch_trial.tried(patch, champion.module, block)
        except Unconfined as error:
            raise Refused(f"no patch is tried without a sandbox: {error}") from None
        if not outcome.ok:
            raise Refused(f"its patch does not pass in the sandbox: {outcome.message}")
        return f"{', '.join(f'`{path}`' for path in files)}, which imports and, by its own word in the sandbox, broke no promise of the contract: the gate will see"


def prompt(task: Task, failing: Sequence[Verdict], champion: Candidate, before: Sequence[Decision]) -> list[dict[str, str]]:
    """The messages: the module's file, the task, its failing targets with what was measured, and the patches proposed before."""
    path = shelf("module")[champion.module].path
    told = "\n".join(f"- `{verdict.id}`: {verdict.reason}" for verdict in failing)
    tried = "\n\n".join(
        f"Tried before, do not propose it again:\n```diff\n{one.action.details.get('patch', '')}```" for one in before
    )
    place = Path(path).relative_to(HOUSE) if Path(path).is_relative_to(HOUSE) else Path(path).name
    text = (
        f"The task `{task.id}` ({task.title}) measures module `{champion.module}` with config {dict(champion.config)!r} on "
        f"`{task.benchmark}`. These targets fail:\n{told}\n\nThe file `{place}`:\n```python\n{Path(path).read_text(encoding='utf-8')}```\n\n{tried}"
    )
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
