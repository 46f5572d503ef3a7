//! Every figure of the protocol by replay: what kvmtune's analysis does with real and simulated noise of known truth,
//! beside what other methods do with the same values. Shared by the benchmark and, with fewer replays, by the tests.

mod boots;
mod families;
mod figure;
mod gains;
mod guards;
mod intervals;
mod naive;
mod night;
mod pool;
mod power;
mod record;
mod replay;
mod single;

pub(crate) use figure::Figure;
pub(crate) use pool::{Half, Pool};

/// How many replays a figure rests on.
#[derive(Clone, Copy)]
pub(crate) struct Replays {
    /// Of one comparison; half as many where the target is not an error rate near its level.
    pub(crate) single: u32,
    /// Of a family of ten, or of a whole selection and confirmation.
    pub(crate) family: u32,
}

/// Each figure, in the order of the table, handed over as soon as it is there.
pub(crate) fn figures(pool: &Pool, replays: Replays, mut sink: impl FnMut(Figure)) {
    let Replays { single, family } = replays;
    let mut all = |figures: Vec<Figure>| figures.into_iter().for_each(&mut sink);
    all(single::false_claims(pool, single));
    all(families::false_claims(pool, family));
    all(boots::false_claims(single / 2));
    all(intervals::coverage(pool, single / 2));
    all(power::by_effect(pool, single / 2));
    // The noise at which rank sums find what they found in the protocol's table; then all there is.
    all(families::search(&pool.with_cv(0.0, 10.0), family, true));
    all(families::search(pool, family, false));
    all(gains::select_and_confirm(pool, family));
    all(guards::misses(pool, single / 2));
    all(record::determinism(pool, family));
}
