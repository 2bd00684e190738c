"""A duel from its agenda to its answer, and the loop that improves a task by itself, with real processes in a copy of the house."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.champions import DUELS, Terms, terms_of
from agents.duels import Duel, agenda
from agents.replay import replayed
from agents.schedule import Job
from agents.worktree import Branches
from bench import promotion
from bench.events import Effect
from bench.fold import Case
from bench.identity import Identifier
from plan.decision import Action, Candidate, Decision
from plan.nouns import Run, Status, Task
from tests.agents.duelling import copied_house, duelling, git, patch_of, patching, plan
from tests.agents.loop import Loop, facts

IDENTIFY = Identifier().identify
OWN = Task(id="a", title="", module="retnet", benchmark="flops-v1", targets=(), config={"path": "torch"})
MOST = promotion.limit(0.025)


def duel(kind: str = "tune", *, gate: bool = True, **terms: Any) -> Duel:
    candidate = Candidate(module="retnet", config={"ffn_multiple": 1.0})
    decision = Decision(
        id="d1",
        decider="x",
        action=Action(kind=kind, task="a", details=candidate.details),
        evidence=(),
        expected=0.0,
        expects="",
        why="",
    )
    fixed = Terms(k=1, champion="", keys=(), metric="parameters", better="less", most=MOST)
    own = replace(OWN, gate=gate)
    return Duel(
        case=Case(decision=decision, seq=1, applied=Effect()), terms=replace(fixed, **terms), champion=own,
        challenger=replace(own, config=candidate.config),
    )  # fmt: skip


def ended(job: Job, status: Status = Status.OK, *, series: Mapping[str, Any] = {}, metrics: Mapping[str, float] = {}) -> Run:
    return Run(key=job.key, request=job.request, status=status, metrics=metrics, series=series, message="it broke")


class World:
    """Finished runs by key, and how much a champion and a challenger measure."""

    def __init__(self, *, champion: float = 2.0, challenger: float = 1.0) -> None:
        self.done: dict[str, Run] = {}
        self.value = {"torch": champion, None: challenger}

    def finish(self, job: Job, **metrics: float) -> None:
        own = (
            {"failures": 0.0}
            if job.gate
            else {"parameters": self.value[job.request.config.get("path")] + 0.01 * (job.request.seed % 7)}
        )
        self.done[job.key] = ended(job, metrics=metrics or own)

    def ask(self, one: Duel, ahead: int = 1) -> tuple[Any, tuple[Job, ...]]:
        return agenda(one, IDENTIFY, self.done.get, ahead=ahead)


def test_a_challengers_gate_comes_before_its_first_number_and_a_red_one_ends_the_duel() -> None:
    world = World()
    bout, (gate,) = world.ask(duel())
    assert bout is None
    assert (gate.request.benchmark, gate.request.config) == ("contract-v1", {"ffn_multiple": 1.0})
    world.finish(gate, failures=2.0)
    bout, jobs = world.ask(duel())
    assert (bout.answer, jobs) == ("reject", ())
    assert "2 of its contract checks are red" in bout.why


def test_pairs_share_a_fresh_seed_and_take_turns_in_going_first_until_the_rule_is_sure() -> None:
    world, one, order = World(), duel(gate=False), []
    while True:
        bout, jobs = world.ask(one)
        if bout is not None:
            break
        assert len({job.request.seed for job in jobs}) == 1
        order.append(tuple(job.request.config.get("path") for job in jobs))
        for job in jobs:
            world.finish(job)
    assert bout.answer == "promote"
    assert order[:4] == [("torch", None), (None, "torch")] * 2
    assert len(bout.pairs) == promotion.fewest(0.025) == len(order)
    seeds = [run.request.seed for run in world.done.values()]
    assert sorted(set(seeds)) == list(range(DUELS, DUELS + len(order)))
    assert replace(one, terms=replace(one.terms, k=2)).terms.k == 2
    assert world.ask(duel(gate=False, k=2))[1][0].request.seed == DUELS + 1000


def test_a_pair_that_ended_early_waits_for_those_before_it() -> None:
    world, one = World(), duel(gate=False)
    _, jobs = world.ask(one, ahead=MOST)
    assert len(jobs) == 2 * MOST
    for job in jobs[2:]:
        world.finish(job)
    bout, missing = world.ask(one, ahead=MOST)
    assert bout is None
    assert missing == jobs[:2]


def test_a_challenger_that_is_worse_is_given_up_early_and_one_that_breaks_is_worse_than_any_number() -> None:
    for world in (World(challenger=3.0), World()):
        one = duel(gate=False)
        while (said := world.ask(one))[0] is None:
            for job in said[1]:
                if world.value[None] < 2 and job.request.config.get("path") is None:
                    world.done[job.key] = ended(job, Status.NOT_FINITE)
                else:
                    world.finish(job)
        assert said[0].answer != "promote"
        assert len(said[0].pairs) < MOST


@pytest.mark.parametrize(("status", "answer"), [(Status.TIMED_OUT, "undecided"), (Status.NOT_FINITE, "promote")])
def test_a_champion_that_the_loop_stopped_has_lost_nothing_but_one_that_breaks_has(status: Status, answer: str) -> None:
    world, one = World(challenger=3.0), duel(gate=False)
    while (said := world.ask(one))[0] is None:
        for job in said[1]:
            if job.request.config.get("path") == "torch":
                world.done[job.key] = ended(job, status)
            else:
                world.finish(job)
    assert said[0].answer == answer


def test_a_refactoring_has_to_show_first_that_it_is_the_same_function() -> None:
    world, one = World(), duel("refactor", gate=False)
    bout, probes = world.ask(one)
    assert bout is None
    assert [(probe.request.benchmark, dict(probe.request.config)) for probe in probes] == [
        ("parity-v1", {"path": "torch"}),
        ("parity-v1", {"ffn_multiple": 1.0}),
    ]
    curve = {"logits of 63": ((0.0, 1.0), (1.0, -2.0))}
    world.done |= {probes[0].key: ended(probes[0], series=curve), probes[1].key: ended(probes[1], series=curve)}
    assert world.ask(one)[1][0].request.benchmark == "flops-v1"
    off = {"logits of 63": ((0.0, 1.001), (1.0, -2.0))}
    world.done[probes[1].key] = ended(probes[1], series=off)
    bout, _ = world.ask(one)
    assert bout.answer == "reject"
    assert "not the same function: `logits of 63` differs" in bout.why


@pytest.fixture(scope="module")
def improved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Loop, tuple[str, ...]]:
    """A patched candidate that wins, from a dirty tree with a detached HEAD; what git said of the tree before."""
    house = copied_house(tmp_path_factory.mktemp("house"))
    patch = patch_of(house, "modules/transformer.py", "ffn_multiple: float = 4.0", "ffn_multiple: float = 1.0")
    patching(house, patch, kind="tune")
    git(house, "checkout", "--quiet", "--detach")
    (house / "modules/moe.py").write_text((house / "modules/moe.py").read_text() + "\n# not committed\n")
    before = state(house)
    loop = duelling(tmp_path_factory.mktemp("improved"), house, plan(config="d_model = 16\n\n[decoder]\nlayers = 1", most=6000))
    done = loop.run("--decider", "patcher")
    assert done.returncode == 0, done.stderr
    return house, loop, before


def state(house: Path) -> tuple[str, ...]:
    return tuple(
        git(house, *words)
        for words in (("status", "--porcelain"), ("rev-parse", "HEAD"), ("branch", "--list", "main"), ("stash", "list"))
    )


def test_a_patch_changes_the_number_and_the_key_and_nothing_of_the_users_tree(
    improved: tuple[Path, Loop, tuple[str, ...]],
) -> None:
    house, loop, before = improved
    known = facts(loop)
    (case,) = known.cases.values()
    terms = terms_of(case)
    assert terms is not None
    assert case.promoted
    pairs: dict[int, dict[str, Run]] = {run.request.seed: {} for run in known.runs.values()}
    for run in known.runs.values():
        pairs[run.request.seed][run.request.tree] = run
    assert {tree: run.metrics["parameters"] for tree, run in pairs[2000].items()} == {"": 7216.0, terms.tree: 5680.0}
    assert len({run.key for run in pairs[2000].values()}) == 2
    assert state(house) == before
    ours = Branches(loop.folder / "runs/ledger-work", ledger=known.first_session, house=house)
    assert ours.branches() == {f"{ours.own}wide/{case.decision.id}": terms.commit}
    assert "# not committed" in git(house, "show", f"{terms.commit}:modules/moe.py")


def test_a_champion_is_judged_on_the_seeds_of_the_plan_which_nobody_saw_before(
    improved: tuple[Path, Loop, tuple[str, ...]],
) -> None:
    _, loop, _ = improved
    known, report = facts(loop), json.loads(loop.report())
    (verdict,) = report["targets"]
    assert (verdict["state"], verdict["value"]) == ("pass", 5680)
    assert report["champions"] == {"wide": "dpatched1: a patch"}
    judged = [known.attempts[key][0] for key in known.wanted.tasks["wide"]]
    assert [attempt.request.seed for attempt in judged] == [0, 1]
    (duel,) = known.cases.values()
    assert duel.bout is not None
    last = max(attempt.seq for attempts in known.attempts.values() for attempt in attempts if attempt.decision == "dpatched1")
    assert min(attempt.seq for attempt in judged) > last
    assert known.verdict_share("wide", "dpatched1") == 0.5


def test_going_on_measures_nothing_again_and_keeps_the_champion(improved: tuple[Path, Loop, tuple[str, ...]]) -> None:
    _, loop, _ = improved
    again = loop.run("--decider", "patcher")
    assert again.returncode == 0
    assert "measuring" not in again.stderr
    assert "as its champion dpatched1: a patch does it" in again.stdout


def test_why_computes_the_answer_again_and_tells_when_it_differs(improved: tuple[Path, Loop, tuple[str, ...]]) -> None:
    _, loop, _ = improved
    told = loop.call("why", "dpatched1").stdout
    assert "promote: better on 6 of 6 pairs" in told
    assert "replayed  the same answer, bit for bit" in told
    known = facts(loop)
    (case,) = known.cases.values()
    assert case.bout is not None
    case.bout = replace(case.bout, e_value=1e9)
    assert "e-value 1000000000.0 is" in (replayed(case, known) or "")
    case.bout = replace(case.bout, pairs=(case.bout.pairs[0][::-1], *case.bout.pairs[1:]))
    assert replayed(case, known) == "its pairs are not the numbers of its runs"


def test_promote_makes_a_branch_with_the_evidence_and_overwrites_none(improved: tuple[Path, Loop, tuple[str, ...]]) -> None:
    house, loop, before = improved
    done = loop.call("promote", "wide", "--branch", "for/review")
    assert done.returncode == 0, done.stderr
    assert "- **module**: `transformer`\n\n```toml config\n" in done.stdout
    shown = git(house, "show", "for/review")
    assert "+    ffn_multiple: float = 1.0" in shown
    assert '+module = "transformer"' in shown
    assert "the same, bit for bit" in shown
    assert "not committed" not in shown
    for told in (shown, done.stderr):
        assert "edits that are in no commit of yours, and so not on this branch: modules/moe.py" in told
    assert loop.call("promote", "wide", "--branch", "for/review").returncode == 4
    assert loop.call("promote", "wyde").returncode == 5
    assert state(house) == before
