"""`search: best` through the loop with real measurements: the race of all candidates, killed once, settled, and won in a duel.

`python -m pytest -m slow tests/agents/test_search_for_the_best.py -s` (about two minutes on 2 idle cores).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.search.race import Race
from agents.trials import TRIAL
from plan.decision import Candidate
from tests.agents.duelling import copied_house, duelling, plan
from tests.agents.loop import facts, kill

ONLY_ONE_MEETS_IT = 8000


@pytest.mark.slow
def test_the_best_of_all_candidates_is_found_by_real_trials_nominated_once_settled_and_promoted(tmp_path: Path) -> None:
    text = plan(most=ONLY_ONE_MEETS_IT, trials=300).replace("- **trials**: 300", "- **trials**: 300\n- **search**: best")
    loop = duelling(tmp_path / "runs", copied_house(tmp_path / "house"), text)
    asked = ("--decider", "qae", "--decider", "more-seeds")
    process = loop.start(*asked)
    loop.wait_for("to be tried on seed 1040", seconds=300)
    kill(process)
    done = loop.run(*asked)
    assert done.returncode == 0, done.stdout + done.stderr

    known = facts(loop)
    tried = [case.decision for case in known.cases.values() if case.decision.action.kind == TRIAL]
    (nominated,) = [case for case in known.cases.values() if case.decision.action.kind == "tune"]
    assert nominated.promoted
    assert "the best at an error of 5 %" in nominated.decision.why
    best = Candidate.of(nominated.decision.action.details)
    assert "ffn_multiple" not in best.config
    seeds = [seed for one in tried for seed in one.action.details["seeds"]]
    assert seeds == list(range(1000, 1000 + len(seeds)))

    runs = [run for run in known.runs.values() if 1000 <= run.request.seed < 2000]
    arms = {str(run.request.config): run.request.config for run in runs}
    met = {
        name: [run.metrics["parameters"] <= ONLY_ONE_MEETS_IT for run in runs if str(run.request.config) == name] for name in arms
    }
    assert [name for name, outcomes in met.items() if any(outcomes)] == [str(best.config)]
    race, spent = Race(len(arms)), 0
    while not race.answered:
        trial = race.ask()
        race.tell(trial, trial.arm == 0)
        spent += 1
    print(f"{len(arms)} candidates, {len(runs)} real trials; a race of so many with one that always succeeds takes {spent}")
    assert spent / 2 < len(runs) < 2 * spent
    assert all(len(attempts) == 1 or not attempts[0].done for attempts in known.attempts.values())
