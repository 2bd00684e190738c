"""The verb `why`: how a verdict, a run or a decision came about, recomputed from the ledger alone."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from agents.champions import terms_of
from agents.reading import read_plan, say
from agents.replay import replayed
from bench.events import Event
from bench.fold import Case, Facts, fold
from bench.ledger import Ledger
from bench.outcomes import TRIAL
from bench.report import wording
from bench.scoreboard import Scoreboard, from_events
from plan.catalogue import suggest
from plan.exits import Exit
from plan.nouns import Run, Status, Verdict
from plan.ranking import Ranking
from plan.units import show
from plan.wire import SCHEMA, plain


def explain_why(what: str, plan_path: Path | None, place: str, *, json: bool) -> Exit:
    """Print the story of a task, a target (`task::metric`), a run (`r...`) or a decision (`d...`)."""
    plan = None if plan_path is None else read_plan(plan_path)
    with Ledger.open(place, create=False) as ledger:
        events = list(ledger.events())
    facts, board = fold(events), from_events(events, plan)
    verdicts = [v for v in board.verdicts if what in (v.id, v.task)]
    runs = [a[-1].run for a in facts.attempts.values() if a[-1].done and a[-1].run.id == what]
    case = facts.cases.get(what)
    if not (verdicts or runs or case):
        names = [*(v.id for v in board.verdicts), *{v.task for v in board.verdicts}, *facts.cases]
        near = suggest(what, names)
        return say(Exit.NOTHING, f"the ledger tells nothing of `{what}`" + (f"; did you mean `{near}`?" if near else ""))
    if json:
        print(
            jsonlib.dumps(
                {
                    "v": SCHEMA,
                    "verdicts": [plain(v) for v in verdicts],
                    "runs": [plain(r) for r in runs],
                    "decisions": [
                        _case_plain(c, facts) | {"ranked": [_placed_plain(*one, events) for one in rankings_of(c, facts)]}
                        for c in ([case] if case else _cases(facts, what.partition("::")[0]))
                    ],
                }
            )
        )
        return Exit.HOLDS
    for verdict in verdicts:
        print(wording.clean("\n".join(_verdict_lines(verdict, board))))
    for run in runs:
        print(wording.clean("\n".join(_run_lines(run))))
    told = [case] if case is not None else _cases(facts, what.partition("::")[0]) if verdicts else []
    for each in told:
        print(wording.clean("\n".join((*_case_lines(each, facts), *_placed_lines(each, facts, events)))))
    return Exit.HOLDS


def _verdict_lines(verdict: Verdict, board: Scoreboard) -> Iterator[str]:
    task = board.plan.task(verdict.task)
    unit = wording.unit_of(task, verdict.target)
    row = next(row for row in wording.rows(board) if row.verdict is verdict)
    yield f"{verdict.id}  {row.word}   {wording.place(board, verdict)}"
    yield f"  target    {verdict.target.metric} {row.target}, rule `{verdict.target.rule.text}`"
    yield f"  measured  {row.measured}   {'' if wording.SPREAD in row.interval else '95% interval '}{row.interval}   n {row.n}   margin {row.margin}"
    if wording.SPREAD in row.interval:
        yield f"            {wording.spread(board)}"
    if verdict.p_value is not None:
        yield f"  p         {verdict.p_value:.3g}"
    if verdict.e_value is not None:
        yield f"  e         {verdict.e_value:.3g}"
    claimed = wording.claimed(verdict)
    error = (
        "no rate is claimed by this rule" if claimed is None else f"at most {wording.rate(claimed)} of such verdicts are wrong"
    )
    yield f"  error     {error}; looks registered at {', '.join(map(str, task.seeds.looks))} seed{'' if task.seeds.most == 1 else 's'}"
    yield f"  reason    {verdict.reason}"
    bars = _bars(verdict, board)
    for seed, (run, value) in enumerate(zip(verdict.runs, verdict.values, strict=False)):
        against = f"   against {wording.figure(bars[seed], unit)}" if seed in bars else ""
        yield f"    {run}  {wording.figure(value, unit)}{against}"


def _bars(verdict: Verdict, board: Scoreboard) -> dict[int, float]:
    """The threshold of each seed, where it is a factor of what another task measured with the same seed."""
    wish = verdict.target.threshold
    name = wish.metric or verdict.target.metric
    others = board.runs.get(wish.task, ()) if wish.task else ()
    return {run.request.seed: wish.value * run.metrics[name] for run in others if name in run.metrics}


def _run_lines(run: Run) -> Iterator[str]:
    request = run.request
    yield f"{run.id}  {run.status.value}   {request.module} on {request.benchmark}, seed {request.seed}, attempt {run.attempt}"
    yield f"  key       {run.key}"
    if run.status is not Status.OK:
        yield f"  message   {run.message}"
        yield from (f"    | {line}" for line in wording.log_lines(run)[-20:])
    for name, value in sorted(run.metrics.items()):
        yield f"  {name:<24} {wording.figure(value, wording.metric_unit(request.module, request.benchmark, name))}"
    yield f"  cost      {run.cost.seconds:.1f} s, {run.cost.cpu_seconds:.1f} s of cpu, peak {show(float(run.cost.peak_bytes), 'B')}"
    for name, fact in sorted(run.facts.items()):
        if name != "identity":
            yield f"  {name:<24} {fact}"


def _case_lines(case: Case, facts: Facts) -> Iterator[str]:
    decision = case.decision
    yield f"{decision.id}  {decision.decider}: {decision.action.kind} for `{decision.action.task}`   {_became(case)}"
    yield from (f"  {name:<9} {words}" for name, words in wording.details(decision.action.details) if name != "patch")
    yield f"  why       {decision.why}"
    yield f"  expected  {decision.expected:.2g} ({decision.expects})"
    yield f"  evidence  {' '.join(decision.evidence)}"
    for opinion in case.opinions:
        yield f"  guard     {opinion.guard}: {opinion.stance.value}{wording.sure(opinion.confidence)}; {opinion.clause}; {opinion.why}"
    for vote in case.votes:
        yield f"  vote      {vote.by}: {vote.say.value}{f'; {vote.comment}' if vote.comment else ''}"
    yield from (f"    | {line}" for line in str(decision.action.details.get("patch", "")).splitlines())
    yield from _duel_lines(case, facts)


def _became(case: Case) -> str:
    """In a word or two; a candidate that fights changes nothing before it has won."""
    if not case.stands:
        return "rolled back" if case.rolled_back else "undone" if case.undone else "not applied"
    if case.duel:
        return "promoted" if case.promoted else "not promoted" if case.bout else "its duel is under way"
    return "tried" if case.decision.action.kind == TRIAL else "applied"


def rankings_of(case: Case, facts: Facts) -> list[tuple[int, Ranking]]:
    """The rounds in which the critic placed the decision among others."""
    return [(seq, one) for seq, one in facts.rankings.values() if case.decision.id in one.order]


def _placed_lines(case: Case, facts: Facts, events: Sequence[Event]) -> Iterator[str]:
    for seq, ranking in rankings_of(case, facts):
        place = ranking.order.index(case.decision.id)
        one = ranking.contenders[place]
        by = f"drawn by chance, as one place in {1 / ranking.epsilon:.0f} is" if one.drawn else "by its value"
        yield f"  placed    {place + 1}. of {len(ranking.order)} {by}, {one.value:.3f}: people {one.people:.2f} (weight {one.weight:.2f}), critic {one.critic:.2f} from {len(ranking.outcomes)} outcomes"
        yield from (f"            {other.decision.id} {other.value:.3f}" for other in ranking.contenders if other is not one)
        differs = _found_again(seq, ranking, events)
        yield f"            {f'DIFFERS: {differs}' if differs else 'found again: the same order and values, bit for bit'}"


def _placed_plain(seq: int, ranking: Ranking, events: Sequence[Event]) -> dict[str, object]:
    values = {one.decision.id: {**plain(one), "decision": one.decision.id} for one in ranking.contenders}
    differs = _found_again(seq, ranking, events)
    return {"order": list(ranking.order), "contenders": values, "outcomes": list(ranking.outcomes), "differs": differs}


def _found_again(seq: int, ranking: Ranking, events: Sequence[Event]) -> str:
    """What differs when the order is found again from the events before it; empty when nothing does."""
    from agents.arbitration import replayed  # where nothing was ranked, nobody waits for the critic's imports

    return replayed(ranking, fold(event for event in events if event.seq < seq))


def _duel_lines(case: Case, facts: Facts) -> Iterator[str]:
    """The duel that the decision led to, and whether its answer comes out again."""
    terms, bout = terms_of(case), case.bout
    if terms is None:
        return
    branch = f", branch {terms.branch}" if terms.branch else ""
    yield f"  duel      the {terms.k}. of this ledger, on {terms.metric} ({terms.better} is better), against {terms.champion or 'the plan'}{branch}"
    if bout is None:
        yield "            under way" if case.stands else "            given up"
        return
    yield f"  answer    {bout.answer}: {bout.why}"
    for place, (a, b) in enumerate(bout.pairs):
        yield f"    {bout.runs[2 * place]} {'no number' if a is None else f'{a:.6g}':<12} {bout.runs[2 * place + 1]} {'no number' if b is None else f'{b:.6g}'}"
    if (differs := replayed(case, facts)) is not None:
        yield f"  replayed  {f'DIFFERS: {differs}' if differs else 'the same answer, bit for bit'}"


def _cases(facts: Facts, task: str) -> list[Case]:
    return [case for case in facts.cases.values() if case.decision.action.task == task]


def _case_plain(case: Case, facts: Facts) -> dict[str, object]:
    terms = terms_of(case)
    return {
        "decision": plain(case.decision),
        "opinions": [plain(o) for o in case.opinions],
        "votes": [plain(v) for v in case.votes],
        "stands": case.stands,
        "terms": None if terms is None else plain(terms),
        "duel": None if case.bout is None else plain(case.bout),
        "differs": replayed(case, facts),
    }
