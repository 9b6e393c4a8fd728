// From single runs to figures: medians with their range, and ratios within one round.
import { median } from './measure.mjs';
import { isCarillon } from './peers/index.mjs';

const spread = (values) => ({ median: median(values), min: Math.min(...values), max: Math.max(...values) });

/** Carillon's figure against each bound: the wanted one, the reached one. */
function goalsOf(scenario, figures, peer, ratio, values) {
  const goals = [];
  const add = (wanted, reached, better, unit) =>
    goals.push({ wanted, reached, better, unit, met: better === 'higher' ? reached >= wanted : reached <= wanted });
  const isMeasured = isCarillon(peer) && peer !== scenario.reference;
  if (scenario.target !== undefined && isMeasured && ratio) {
    add(scenario.target, ratio.median, 'higher', 'x');
  }
  const wanted = scenario.targets?.[peer];
  if (wanted !== undefined && ratio) add(wanted, ratio.median, 'higher', 'x');
  if (isMeasured) {
    for (const [key, bound] of Object.entries(scenario.bounds ?? {})) {
      const { better, label } = figures.find((figure) => figure.key === key);
      if (values[key]) add(bound, values[key].median, better, label);
    }
  }
  return goals;
}

/**
 * One row for each peer. `ratio` is against the scenario's reference; where there is a subject instead, it is the
 * subject's figure against this peer's. Both figures of a ratio come from the same round.
 */
function rowOf(scenario, figures, peer, runs) {
  const own = runs.filter((run) => run.peer === peer && !run.error);
  const failures = runs.filter((run) => run.peer === peer && run.error);
  const values = {};
  for (const { key } of figures) {
    const measured = own.map((run) => run[key]).filter((value) => typeof value === 'number');
    if (measured.length > 0) values[key] = spread(measured);
  }
  const other = scenario.reference ?? scenario.subject;
  const [{ key }] = figures;
  const ratios = own.flatMap((run) => {
    const beside = runs.find((r) => r.peer === other && r.round === run.round && !r.error);
    if (!beside) return [];
    return [scenario.reference ? run[key] / beside[key] : beside[key] / run[key]];
  });
  const ratio = ratios.length > 0 ? spread(ratios) : undefined;
  return {
    peer,
    rounds: own.length,
    values,
    ratio,
    settings: own.find((run) => run.settings)?.settings,
    goals: goalsOf(scenario, figures, peer, ratio, values),
    failures: failures.map(({ round, error }) => ({ round, error })),
  };
}

/** Every scenario of a suite with its rows. @param result as it stands in the JSON file */
export function summarize(suite, result) {
  return suite.scenarios.map((scenario) => ({
    scenario,
    rows: scenario.peers
      .map((peer) =>
        rowOf(
          scenario,
          suite.figures,
          peer,
          result.runs.filter((run) => run.scenario === scenario.name),
        ),
      )
      .filter(({ rounds, failures }) => rounds + failures.length > 0),
  }));
}
