//! A treatment taken apart: it, and it without each of its settings. Knows which combinations are possible; not what
//! any of them measures.

use super::picks::Pick;
use super::treatment::possible;
use super::{PlannedFactor, Treatment};
use crate::facts::Facts;

/// No more settings than this are taken away together to find what goes with one.
const MOST_TOGETHER: usize = 4;

/// The second of `picks` as the baseline, then that without each setting in which it differs from the first.
///
/// A setting without which the others are impossible (`cache=none`, which `io=native` needs) goes together with the
/// fewest that need it. Where those are all there are, what is left is the first pick itself, which was compared
/// already: it is not planned.
pub(super) fn take_apart(
    factors: &mut [PlannedFactor],
    picks: &[Pick],
    facts: &Facts,
    notices: &mut Vec<String>,
) -> Vec<Treatment> {
    let [original, whole] = picks else {
        return Vec::new();
    };
    for (factor, &level) in factors.iter_mut().zip(&whole.levels) {
        factor.baseline = level;
    }
    let differs = |place: &usize| original.levels[*place] != whole.levels[*place];
    let settings: Vec<usize> = (0..factors.len()).filter(differs).collect();
    let mut treatments = match possible(factors, whole, facts) {
        Ok(treatment) => vec![treatment],
        Err(why) => {
            notices.push(why);
            return Vec::new();
        }
    };
    for &setting in &settings {
        let others: Vec<usize> = settings.iter().copied().filter(|s| *s != setting).collect();
        let most = others.len().min(MOST_TOGETHER);
        let mut refused = None;
        let found = (0..most).find_map(|size| {
            subsets(&others, size).into_iter().find_map(|mut away| {
                away.push(setting);
                away.sort_unstable();
                let pick = without(factors, original, whole, &away);
                possible(factors, &pick, facts)
                    .map_err(|why| {
                        refused.get_or_insert(why);
                    })
                    .ok()
            })
        });
        match (found, refused) {
            (Some(found), _) if treatments.iter().all(|t| t.id != found.id) => treatments.push(found),
            (None, Some(why)) => {
                notices.push(format!("{} is not taken away: {why}", factors[setting].tunable));
            }
            _ => {}
        }
    }
    treatments
}

/// The whole with the settings at these places back at their first level, and a name that says so.
fn without(factors: &[PlannedFactor], original: &Pick, whole: &Pick, away: &[usize]) -> Pick {
    let mut levels = whole.levels.clone();
    let mut names = Vec::new();
    for &place in away {
        levels[place] = original.levels[place];
        let factor = &factors[place];
        names.push(format!(
            "{}={}",
            factor.tunable, factor.levels[whole.levels[place]].label
        ));
    }
    Pick {
        name: Some(format!("without {}", names.join(" "))),
        levels,
    }
}

/// All subsets of this size, the first elements first.
fn subsets(of: &[usize], size: usize) -> Vec<Vec<usize>> {
    match (size, of) {
        (0, _) => vec![Vec::new()],
        (_, []) => Vec::new(),
        (_, [first, rest @ ..]) => {
            let with = subsets(rest, size - 1).into_iter().map(|mut set| {
                set.insert(0, *first);
                set
            });
            with.chain(subsets(rest, size)).collect()
        }
    }
}
