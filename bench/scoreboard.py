"""What every face of the result shows: one frozen record made of the ledger's facts and the judge's verdicts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench.draws import test_of
from bench.events import Event, attempt_key
from bench.fold import Case, Facts, settled
from bench.hold import LedgerFault
from bench.judge import judge
from bench.ledger import Ledger
from bench.outcomes import TRIAL, Record, records
from bench.pulls import Pulls, hold
from plan.decision import IMPROVING, Candidate, Decision, Opinion, Stance, told
from plan.faults import PlanFaults
from plan.grammar import parse
from plan.nouns import Cost, Plan, Run, State, Status, Task, Verdict
from plan.ranking import Ranking
from plan.wire import encode, plain

PASSING = frozenset(
    {"seconds", "time", "at", "resumed", "pid", "peak", "memory", "speed", "rate", "load", "host", "folder", "left"}
)
"""Words in a fact's name that say it belongs to one telling of the run, not to the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A decision with what the guards said of it and what became of it."""

    decision: Decision
    opinions: tuple[Opinion, ...] = ()
    outcome: str = ""
    """What the action did, that it was undone, or that it was not applied."""
    at: float | None = None
    """Seconds since the epoch; none in a timeless record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One attempt at a measurement on the time axis; times are seconds since the epoch."""

    task: str
    run: str
    began: float
    ended: float
    status: Status | None
    """None: abandoned, its orchestrator died."""
    payer: str = ""
    """The task that is charged for it, where that is another: a run that serves several has a lane in each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One start of the orchestrator."""

    id: str
    at: float
    command: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoreboard:
    """Everything the reports show, in the order they show it."""

    plan: Plan
    verdicts: tuple[Verdict, ...]
    """One per target, in the order of the plan."""
    runs: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)
    """Finished runs by task id, in submission order, those that failed included."""
    gates: Mapping[str, Run] = field(default_factory=dict)
    """By task id, the contract run of its module at its config."""
    told: tuple[Told, ...] = ()
    """Decisions by task in the plan's order, within a task in the order they were made."""
    sessions: tuple[Session, ...] = ()
    lanes: tuple[Lane, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds charged to each task: attempts that were abandoned, trials and duels included; of a run that serves several, to the
    one whose budget pays."""
    spent: float = 0.0
    """Wall-clock seconds of all these runs together, each counted once."""
    champions: Mapping[str, str] = field(default_factory=dict)
    """By task id, where something else than the plan's own module and config stands for it: the decision, and what it changed."""
    pulls: Pulls | None = None
    """The latest look at the open pull requests."""
    records: tuple[Record, ...] = ()
    """How often the opinions of guards on these decisions were right."""
    rankings: tuple[Ranking, ...] = ()
    """In which order the critic had changes tried, oldest first."""
    moved: tuple[str, ...] = ()
    """What earlier plans of this ledger asked more of, and a person let stand."""

    def count(self, state: State) -> int:
        """How many targets are in this state."""
        return sum(verdict.state is state for verdict in self.verdicts)

    def of(self, tasks: Collection[str]) -> Scoreboard:
        """What is known of these tasks alone; the plan stays whole."""
        return replace(
            self,
            verdicts=tuple(verdict for verdict in self.verdicts if verdict.task in tasks),
            champions={task: told for task, told in self.champions.items() if task in tasks},
            spent=sum(seconds for task, seconds in self.seconds.items() if task in tasks),
        )

    def verdicts_of(self, task: str) -> tuple[Verdict, ...]:
        """The verdicts on one task's targets."""
        return tuple(verdict for verdict in self.verdicts if verdict.task == task)


def timeless(board: Scoreboard) -> Scoreboard:
    """The same facts without anything that a second, slower or interrupted telling of them would change.

    Left out: sessions, times, durations, costs, attempts, killed runs, logs (free text that may print times),
    and facts that are measured (fractions) or named by a word of PASSING. Runs come by seed. Reports of two such
    records are equal byte for byte when the same things were measured and decided.
    """
    runs = {task: [_steady(run) for run in runs if run.status is not Status.KILLED] for task, runs in board.runs.items()}
    return replace(
        board,
        runs={
            task: tuple(sorted(kept, key=lambda run: (run.request.seed, run.key))) for task, kept in sorted(runs.items()) if kept
        },
        gates={task: _steady(run) for task, run in sorted(board.gates.items())},
        told=tuple(replace(told, at=None) for told in board.told),
        sessions=(),
        lanes=(),
        seconds={},
        spent=0.0,
    )


def _steady(run: Run) -> Run:
    facts = {
        name: fact
        for name, fact in sorted(run.facts.items())
        if not isinstance(fact, float) and PASSING.isdisjoint(name.lower().split("_"))
    }
    return replace(run, cost=Cost(), attempt=1, log_tail="", facts=facts)


class NoSession(LookupError):
    """A ledger in which no plan was run so far."""


def scoreboard(ledger: Ledger, plan: Plan | None = None) -> Scoreboard:
    """The record of what the ledger knows of `plan` (default: the plan of its latest session); NoSession when it has none."""
    return from_events(ledger.events(), plan)


def from_events(events: Iterable[Event], plan: Plan | None = None) -> Scoreboard:
    """The record that these events, in ledger order, amount to.

    Which runs a task rests on is what the latest session published. Given another plan than that session's, a run
    counts only where its request is what the task asks for.
    """
    facts, at = Facts(), dict[tuple[str, str], float]()
    for event in events:
        facts.advance(event)
        at[event.kind, event.key] = event.at
    if plan is None:
        if facts.session is None:
            raise NoSession(
                "the ledger holds no session yet, and so no plan; give one by `--plan`, or `orchestrate run` one first"
            )
        plan = _kept(facts)
    held = replace(plan, tasks=tuple(_held(facts, task) for task in plan.tasks))
    wanted = {task.id: [key for key in facts.wanted.tasks.get(task.id, ()) if _fits(facts, key, task)] for task in held.tasks}
    gates = {task.id: run for task in held.tasks if (run := _gate(facts, task)) is not None}
    made_by = {
        task.id: facts.wanted.champions[task.id] for task, then in zip(plan.tasks, held.tasks, strict=True) if then is not task
    }
    shares = {id: facts.verdict_share(id, decision) for id, decision in made_by.items()}
    done = {key: run for keys in wanted.values() for key in keys if (run := facts.run(key)) is not None}
    tests = {task: test_of(keys, facts.attempts) for task, keys in wanted.items()}
    judged = judge(held, {task: settled(keys, done) for task, keys in wanted.items()}, gates=gates, shares=shares, tests=tests)
    verdicts = hold(judged, facts.pulls, plan)
    served = _served(facts, wanted)
    payers = _payers(facts, served)
    paid = {task: [key for key in keys if payers[key] == task] for task, keys in served.items()}
    return Scoreboard(
        plan=plan,
        verdicts=verdicts,
        pulls=facts.pulls,
        gates=gates,
        runs={task: runs for task, keys in wanted.items() if (runs := facts.runs_for(keys))},
        told=_told(facts, plan, verdicts, at),
        rankings=tuple(ranking for _, ranking in facts.rankings.values()),
        moved=tuple(shift for word in facts.acknowledged.values() for shift in word.shifts),
        records=records([case for case in facts.cases.values() if case.decision.action.task in wanted], facts),
        sessions=tuple(
            Session(id=id, at=at["session", id], command=one.command, machine=one.machine, options=one.options)
            for id, one in facts.sessions.items()
        ),
        lanes=_lanes(facts, served, payers, at),
        seconds={task: seconds for task, keys in paid.items() if (seconds := facts.spent_for(keys).seconds)},
        spent=facts.spent_for(payers).seconds,
        champions={id: f"{made_by[id]}: {told(_candidate(plan.task(id)), _candidate(held.task(id)))}" for id in made_by},
    )


def _held(facts: Facts, task: Task) -> Task:
    """The task as its champion does it, where the latest session published one that came from this very module and config."""
    case = facts.cases.get(facts.wanted.champions.get(task.id, ""))
    if case is None or case.applied is None or not (case.promoted and case.stands):
        return task
    first = case.applied.details
    while first.get("champion") and (before := facts.cases[first["champion"]].applied) is not None:
        first = before.details
    key, details = first["keys"][0], case.decision.action.details
    if key not in facts.attempts or not _fits(facts, key, task):
        return task
    return replace(task, module=details["module"], config=details["config"], tree=case.applied.details.get("tree", ""))


def _candidate(task: Task) -> Candidate:
    return Candidate(module=task.module, config=task.config, patch=task.tree)


def _kept(facts: Facts) -> Plan:
    """The plan of the latest session, as the ledger keeps it; LedgerFault when this version's shelves lack what it names."""
    id, session = list(facts.sessions.items())[-1]
    try:
        return parse(session.text, path=session.path)
    except PlanFaults as found:
        first = found.faults[0]
        raise LedgerFault(
            f"the plan kept in the ledger no longer fits this version's shelves ({first.code}: {first.message})",
            where=f"{session.path}:{first.line} as session {id[:8]} ran it",
            mend="give a current plan with `--plan`, or run one with `orchestrate run`",
            untouched="the ledger and its measurements are untouched",
        ) from None


def _fits(facts: Facts, key: str, task: Task) -> bool:
    if key not in facts.attempts:
        return True
    asked = facts.attempts[key][-1].request
    wish = (task.module, task.benchmark, plain(task.config), task.budget.steps, task.device, task.data)
    return wish == (asked.module, asked.benchmark, plain(asked.config), asked.steps, asked.device, asked.data)


def _gate(facts: Facts, task: Task) -> Run | None:
    """The contract run that a session published for `task`, if it is of the module and config the task asks for."""
    run = facts.run(facts.wanted.gates.get(task.id, ""))
    fits = run is not None and (run.request.module, plain(run.request.config)) == (task.module, plain(task.block))
    return run if fits else None


def _told(facts: Facts, plan: Plan, verdicts: tuple[Verdict, ...], at: Mapping[tuple[str, str], float]) -> tuple[Told, ...]:
    place = {task.id: index for index, task in enumerate(plan.tasks)}
    cases = [case for case in facts.cases.values() if case.decision.action.task in place]
    return tuple(
        Told(
            decision=case.decision,
            opinions=tuple(case.opinions),
            outcome=_trial(case, plan.task(case.decision.action.task), facts) or _outcome(case, verdicts),
            at=at["decision", case.decision.id],
        )
        for case in sorted(cases, key=lambda case: (place[case.decision.action.task], case.seq))
    )


def _trial(case: Case, task: Task, facts: Facts) -> str:
    """What each candidate of a trial measured, seed by seed; empty for another decision, and for one that does not stand."""
    details = case.decision.action.details
    if case.decision.action.kind != TRIAL or not case.stands:
        return ""
    results = {
        (one.request.module, encode(one.request.config), one.request.seed): one.run
        for attempts in facts.attempts.values()
        if (one := attempts[-1]).decision and one.request.benchmark == task.benchmark and one.done
    }
    parts = []
    for candidate in map(Candidate.of, details["candidates"]):
        runs = {seed: results.get((candidate.module, encode(candidate.config), seed)) for seed in details["seeds"]}
        found = "; ".join(f"seed {seed} {_numbers(run, task)}" for seed, run in runs.items())
        parts.append(f"{told(_candidate(task), candidate)}: {found}")
    return "measured: " + " | ".join(parts)


def _numbers(run: Run | None, task: Task) -> str:
    if run is None:
        return "not yet"
    names = dict.fromkeys(target.metric for target in task.targets if target.metric in run.metrics)
    return ", ".join(f"{name} {run.metrics[name]:.4g}" for name in names) or f"{run.status} {run.message}".strip()


def _outcome(case: Case, verdicts: tuple[Verdict, ...]) -> str:
    if case.undone is not None:
        return "undone: " + str(case.undone.details.get("why", "no reason was given"))
    if case.applied is None:
        blockers = ", ".join(opinion.guard for opinion in case.opinions if opinion.stance is Stance.BLOCK)
        return f"not applied: blocked by {blockers}" if blockers else "not applied yet"
    if case.bout is not None:
        taken = f"; rolled back by {case.rolled_back}" if case.rolled_back else ""
        return f"{case.bout.answer}: {case.bout.why}{taken}"
    if case.duel:
        return "its duel is under way"
    now = [f"{v.target.metric} {v.state} at n {v.n}" for v in verdicts if v.task == case.decision.action.task]
    return "applied; now " + ", ".join(now)


def _served(facts: Facts, wanted: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Task -> keys of the runs its verdicts rest on, and, where something was tried on it, of all that was ever measured for it."""
    served = {task: dict.fromkeys(keys) for task, keys in wanted.items()}
    actions = [case.decision.action for case in facts.cases.values()]
    tried = {action.task for action in actions if action.kind in (*IMPROVING, TRIAL)}.intersection(served)
    for key, attempts in facts.attempts.items() if tried else ():
        for task in tried.intersection(task for one in attempts for task in one.tasks):
            served[task][key] = None
    return {task: list(keys) for task, keys in served.items()}


def _payers(facts: Facts, served: Mapping[str, list[str]]) -> dict[str, str]:
    """Run key -> the one task it is charged to: whose budget pays, as the session published; else the first that it serves."""
    payers: dict[str, str] = {}
    for task, keys in served.items():
        for key in keys:
            if facts.wanted.payers.get(key) == task:
                payers[key] = task
            payers.setdefault(key, task)
    return payers


def _lanes(
    facts: Facts, served: Mapping[str, list[str]], payers: Mapping[str, str], at: Mapping[tuple[str, str], float]
) -> tuple[Lane, ...]:
    lanes = []
    for task, key in ((task, key) for task, keys in served.items() for key in keys):
        payer = payers[key] if payers[key] != task else ""
        for attempt in facts.attempts.get(key, ()):
            name = attempt_key(key, attempt.number)
            ended = at.get(("run", name), attempt.at + attempt.seconds)
            status = attempt.run.status if ("run", name) in at else None
            lanes.append(Lane(task=task, run="r" + key[:8], began=attempt.at, ended=ended, status=status, payer=payer))
    return tuple(lanes)
