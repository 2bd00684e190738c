"""Deciders propose, guards vet, actions act; and how a duel ended is put on record. Everything of it is in the ledger.

A round writes down all its decisions and opinions before it carries out the first. So a process that is killed anywhere finds, when it
is started again, either a round of which nothing was carried out, which the deciders will propose again word for word, or one whose
rest has only to be carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from agents.actions import ACTS, ITSELF, POSSIBLE, Place, Refused, clear, refusal, sweep
from agents.champions import candidate_of, champion_by, pending
from agents.deciders.first_candidate import needy
from agents.deciders.qae import DUEL, WAVE
from agents.events import Decided, Noted, Watch
from agents.learning.view import duel_of
from agents.standing import Standing
from agents.trials import TRIAL
from bench.events import Event
from bench.fold import Case
from bench.hold import LedgerFault
from bench.ledger import Ledger
from plan import catalogue
from plan.decision import IMPROVING, Bout, Decider, Decision, Guard, Opinion, Situation, Stance, told
from plan.nouns import State, Task, Verdict
from plan.wire import encode

ROUNDS = 200
"""Rounds in a row of which every decision is refused, after which nobody is asked any more."""
CRITIC = "critic"
"""The guard whose values put changes in order."""
TRYING = (*IMPROVING, TRIAL)
MOST = 300
"""Letters of an error's message that an opinion repeats."""


class OutOfTime(Exception):
    """The session's budget ended while it was being decided what to do; what was decided so far is decided again, word for word."""


class Council:
    """The deciders and guards of one session."""

    def __init__(self, standing: Standing, ledger: Ledger, *, work: Path, watch: Watch, deciders: Sequence[str] = ()) -> None:
        shelf = catalogue.shelf("decider")
        names = deciders or [name for name, entry in shelf.items() if not entry.arguments.get("baseline")]
        self.standing, self.ledger, self.watch = standing, ledger, watch
        self.deciders: dict[str, Decider] = {name: catalogue.load("decider", name)() for name in names}
        self.place = Place(ledger=ledger, standing=standing, work=work)
        self.untold: dict[str, Verdict] = {}
        self.refused = 0
        self.in_time: Callable[[], bool] = lambda: True
        self._told_weaker = False
        self._told_asking = False

    @cached_property
    def guards(self) -> dict[str, Guard]:
        """By name, the critic last. Loaded when the first decision is proposed: where nothing changed nobody waits for their imports."""
        names = sorted(catalogue.shelf("guard"), key=lambda name: (name == CRITIC, name))
        return {name: catalogue.load("guard", name)() for name in names if self._hurry()}

    def begin(self) -> None:
        """Tidy up after a run that was killed."""
        sweep(self.place)
        self._say()

    def decide(self, *, in_time: Callable[[], bool] = lambda: True) -> bool:
        """Carry out what was decided before, else ask everybody once; True when there may be more to do.

        OutOfTime as soon as it is not `in_time` and something waits to be vetted or carried out.
        """
        self.in_time = in_time
        standing = self.standing
        situation, known = standing.situation(), len(standing.facts.cases)
        busy = {duel.task for duel in standing.trials.duels}
        if self._go_on(situation, busy):
            return True
        self._tell_asking(situation, busy)
        passed = []
        proposed = [decision for decider in self.deciders.values() for decision in decider.ask(situation)]
        asked = [
            one for one in proposed if self._writable(one) and (one.action.kind not in IMPROVING or one.action.task not in busy)
        ]
        said = {decision.id: self._opinions(decision, situation) for decision in asked}
        if said:
            self._tell_weaker()
        for decision in self._arranged(asked, said, situation):
            improving = decision.action.kind in IMPROVING
            if improving and decision.action.task in busy:
                continue
            if self._vet(decision, said[decision.id]):
                passed.append(decision)
                busy |= {decision.action.task} if improving else set()
        acts = [self._carry_out(decision, said[decision.id]) for decision in passed if self._hurry()]
        acted = any(acts)
        self.refused = 0 if acted else self.refused + 1
        return acted or (len(standing.facts.cases) > known and self.refused < ROUNDS)

    def conclude(self) -> bool:
        """Put on record which duels have ended, and how; True when one has."""
        trials = self.standing.trials
        for id, why in trials.void.items():
            case = self.standing.facts.cases[id]
            ACTS[case.decision.action.kind].undo(case.decision, self.place, why)
            self.watch(Noted(text=f"{id} is given up: {why}; what it measured no longer counts"))
        for id, bout in trials.ended.items():
            self._end(id, bout)
        self._say()
        return bool(trials.void or trials.ended)

    def give_up(self) -> bool:
        """End the duels that nobody can pay for any more; True when there was one. To be called when nothing runs and nothing can start."""
        found = self.standing.trials.starved()
        for id, bout in found.items():
            self._end(id, bout)
        return bool(found)

    def tell(self) -> None:
        """Tell deciders how their applied decisions turned out, once all the runs they bought are in."""
        for id, before in list(self.untold.items()):
            case = self.standing.facts.cases[id]
            if (case.duel and case.bout is None and case.stands) or not self.standing.measured(before.task):
                continue
            after = next((v for v in self.standing.verdicts if (v.task, v.target) == (before.task, before.target)), None)
            if after is not None:
                self.deciders[case.decision.decider].tell(case.decision, before, after)
                del self.untold[id]

    def _hurry(self) -> bool:
        """True while there is time; OutOfTime afterwards."""
        if not self.in_time():
            raise OutOfTime
        return True

    def _tell_asking(self, situation: Situation, busy: Collection[str]) -> None:
        """Say once a session whom the first round asks and about what, since the first answer may take a while."""
        needing = [task.id for task in self._needing(situation) if task.id not in busy]
        if needing and not self._told_asking:
            self._told_asking = True
            tasks, names = (", ".join(f"`{name}`" for name in names) for names in (needing, self.deciders))
            self.watch(Noted(text=f"asking {names} what to try on {tasks}"))

    def _needing(self, situation: Situation) -> Iterator[Task]:
        """The tasks that miss a target, are measured, and may be improved."""
        for task in situation.plan.tasks:
            verdicts = [verdict for verdict in situation.verdicts if verdict.task == task.id]
            settled = all(verdict.state is not State.WAITING for verdict in verdicts)
            if task.improve and settled and needy(task, verdicts, situation):
                yield task

    def tell_untried(self) -> None:
        """Say of each task that misses a target and may be improved why nothing more is tried on it, as far as that is its plan's to mend."""
        if not any(task.improve for task in self.standing.tasks):
            return
        situation, cases = self.standing.situation(), self.standing.facts.cases.values()
        for task in self._needing(situation):
            tried = any(case.decision.action.task == task.id and case.decision.action.kind in TRYING for case in cases)
            needed = max(duel_of(situation), DUEL) + WAVE + 1
            what = f"{'nothing more is' if tried else 'nothing was'} tried on `{task.id}` ({', '.join(task.improve)})"
            if lack := self.standing.trials.lack(task.id, needed):
                self.watch(Noted(text=f"{what}: {lack}"))
            elif not tried:
                names = ", ".join(f"`{name}`" for name in self.deciders)
                self.watch(Noted(text=f"{what}: {names} know of no other candidate for it"))

    def _go_on(self, situation: Situation, busy: Collection[str]) -> bool:
        """Carry out what an interrupted round left over, but on no task that is `busy`; whether there was anything.

        What the plan allowed then it may not allow now.
        """
        taken = {*busy}
        left = [case.decision for case in self.standing.facts.cases.values() if self._left_over(case)]
        waiting = [one for one in left if one.action.kind not in IMPROVING or one.action.task not in taken]
        for decision in waiting:
            if decision.action.kind in IMPROVING and decision.action.task in taken:
                continue
            if refused := refusal(decision, situation, self.place):
                self._record(refused)
                self.watch(Noted(text=f"{decision.id} is not carried out any more: {refused.why}"))
                self.standing.take_in()
            elif self._hurry() and self._carry_out(decision) and decision.action.kind in IMPROVING:
                taken.add(decision.action.task)
        return bool(waiting)

    def _left_over(self, case: Case) -> bool:
        """Whether it was allowed in a round of which something has been carried out, and still waits for its turn."""
        if not pending(case) or case.seq > self.standing.facts.last_applied:
            return False
        chosen = {task.id for task in self.standing.tasks}
        task = case.decision.action.task
        measured = (self.standing.runs_by_task().get(task, ()), self.standing.trials.runs().get(task, ()))
        known = {run.id for runs in measured for run in runs}
        return task in chosen and known.issuperset(case.decision.evidence)

    def _record(self, opinion: Opinion) -> None:
        """Write an opinion down, unless it is what the guard has said of the decision before."""
        case = self.standing.facts.cases.get(opinion.decision)
        if case is not None and any((one.guard, one.stance) == (opinion.guard, opinion.stance) for one in case.opinions):
            return
        key, count = f"{opinion.decision}/{opinion.guard}", 1
        while not self.ledger.append("opinion", key if count == 1 else f"{key}#{count}", opinion):
            count += 1

    def _tell_weaker(self) -> None:
        """Say once a session what guards could not load in full."""
        from alignment.encoder import weaker  # only here, as the guards that need it are imported by now

        if not self._told_weaker and (words := weaker()):
            self._told_weaker = True
            self.watch(Noted(text=words))

    def _writable(self, decision: Decision) -> bool:
        """Whether the ledger can hold it and read it back; what it cannot is told and left out."""
        try:
            Event(seq=0, at=0.0, kind="decision", key=decision.id, body=encode(decision)).read(Decision)
        except (TypeError, ValueError, RecursionError, AttributeError, LedgerFault) as error:
            self.watch(Noted(text=f"what {decision.decider} proposes cannot be put on record, and is left out: {told_of(error)}"))
            return False
        return True

    def _opinions(self, decision: Decision, situation: Situation) -> tuple[Opinion, ...]:
        """What the house itself, or else every guard says of a decision; the critic is asked last, and hears the others."""
        if refused := refusal(decision, situation, self.place):
            return (refused,)
        said: tuple[Opinion, ...] = ()
        for name, guard in self.guards.items():
            self._hurry()
            known = replace(situation, opinions={**situation.opinions, decision.id: said})
            try:
                said += (guard.review(decision, known),)
            except (Exception, SystemExit) as error:  # the decision may hold anything; what cannot be judged does not pass
                said += (_unjudged(name, decision, error),)
        return said

    def _arranged(
        self, asked: Sequence[Decision], said: Mapping[str, Sequence[Opinion]], situation: Situation
    ) -> Sequence[Decision]:
        """What was asked, in the order in which it is to be tried; an order that was found before a kill stands."""
        cases = self.standing.facts.cases
        contenders = [
            one
            for one in asked
            if one.action.kind in IMPROVING
            and all(opinion.stance is not Stance.BLOCK for opinion in said[one.id])
            and (one.id not in cases or cases[one.id].applied is None)
        ]
        if len(contenders) < 2 or len({one.id for one in contenders}) < len(contenders):
            return asked
        from agents.arbitration import arranged, key_of, ranked  # only here, as what a critic needs takes long to import
        from alignment.guards.critic import CriticGuard

        if not isinstance(critic := self.guards.get(CRITIC), CriticGuard):
            return asked
        heard = replace(situation, opinions={**situation.opinions, **{one.id: tuple(said[one.id]) for one in contenders}})
        makers = {task: reign.champion.decision for task, reign in self.standing.reigns.items()}
        found = ranked(contenders, heard, makers, critic)
        if found is None:
            return asked
        key = key_of(found.asked, found.outcomes)
        if key in self.standing.facts.rankings:
            found = self.standing.facts.rankings[key][1]
        else:
            self.ledger.append("ranked", key, found)
        return arranged(asked, found)

    def _vet(self, decision: Decision, opinions: tuple[Opinion, ...]) -> bool:
        """Write down a decision and what was said of it; whether it may be carried out."""
        case = self.standing.facts.cases.get(decision.id)
        if case is not None and case.applied is not None:
            return False
        if (
            all((one.guard, one.stance) != (ITSELF, Stance.BLOCK) for one in opinions)
            and case is not None
            and any((one.guard, one.stance) == (ITSELF, Stance.BLOCK) for one in case.opinions)
        ):
            why = "what stood in its way is gone"
            opinions += (Opinion(guard=ITSELF, decision=decision.id, stance=Stance.ALLOW, clause=POSSIBLE, why=why),)
        news = self.ledger.append("decision", decision.id, decision)
        for opinion in opinions:
            self._record(opinion)
        self.standing.take_in()
        allowed = all(opinion.stance is not Stance.BLOCK for opinion in self.standing.facts.cases[decision.id].opinions)
        if news and not allowed:
            self.watch(Decided(decision=decision, opinions=opinions, applied=False))
        return allowed

    def _carry_out(self, decision: Decision, opinions: tuple[Opinion, ...] = ()) -> bool:
        """Carry out what nobody forbids, and tell it once it is; whether it could be."""
        try:
            ACTS[decision.action.kind].apply(decision, self.place)
        except Refused as error:
            refused = Opinion(guard=ITSELF, decision=decision.id, stance=Stance.BLOCK, clause=POSSIBLE, why=str(error))
            self._record(refused)
            self.watch(Decided(decision=decision, opinions=(*opinions, refused), applied=False))
            return False
        else:
            self.watch(Decided(decision=decision, opinions=opinions, applied=True))
        finally:
            self._say()
            self.standing.take_in()
        if decision.decider in self.deciders:
            self.untold[decision.id] = next(v for v in self.standing.verdicts if v.task == decision.action.task)
        return True

    def _end(self, id: str, bout: Bout) -> None:
        case, facts = self.standing.facts.cases[id], self.standing.facts
        task = self.standing.reigns[case.decision.action.task].task
        self.ledger.append("duel", id, bout)
        terms = case.applied.details if case.applied else {}
        champion, candidate = champion_by(str(terms.get("champion", "")), task, facts).candidate, candidate_of(case)
        if bout.answer != "promote":
            clear(case, self.place)
        what = told(champion, candidate) if candidate else "nothing"
        self.watch(Noted(text=f"duel {id} for `{task.id}`, {what}: {bout.answer}; {bout.why}"))

    def _say(self) -> None:
        while self.place.loud:
            self.watch(Noted(text=self.place.loud.pop(0)))


def _unjudged(guard: str, decision: Decision, error: BaseException) -> Opinion:
    """The opinion of a guard that failed over a decision: it blocks, with the error as its reason."""
    why = f"`{guard}` could not judge it: {told_of(error)}"
    clause = str(catalogue.shelf("guard")[guard].arguments["clause"])
    return Opinion(guard=guard, decision=decision.id, stance=Stance.BLOCK, clause=clause, why=why)


def told_of(error: BaseException) -> str:
    """An error in one line of letters that can be printed."""
    words = "".join(letter if letter.isprintable() else " " for letter in str(error))[:MOST]
    return f"{type(error).__name__}: {words}"
