//! How often each latency came, in steps that grow with it: bounded memory, percentiles within half a percent.

/// Linear steps in each doubling: a step is 1/128 of its value at most, and the middle of it is reported.
const STEPS: usize = 128;
const BITS: u32 = STEPS.trailing_zeros();
/// 2^42 ns are more than an hour; what is longer counts as that.
const LONGEST: u64 = (1 << 42) - 1;

/// Nanoseconds and their counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; step(LONGEST) + 1],
            count: 0,
            max: 0,
        }
    }

    pub(crate) fn add(&mut self, nanoseconds: u64) {
        self.counts[step(nanoseconds.min(LONGEST))] += 1;
        self.count += 1;
        self.max = self.max.max(nanoseconds);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The longest, exact.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// The latency that so many of a thousand do not exceed; 0 of nothing.
    pub(crate) fn per_mille(&self, share: u64) -> u64 {
        let wanted = (self.count * share).div_ceil(1000).max(1);
        let mut below = 0;
        for (step, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= wanted {
                return middle(step).min(self.max);
            }
        }
        self.max
    }
}

/// Values below [`STEPS`] have a step each; after that each doubling has [`STEPS`].
fn step(value: u64) -> usize {
    let doublings = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    let within = usize::try_from(value >> doublings).unwrap_or(usize::MAX);
    doublings as usize * STEPS + within
}

fn middle(step: usize) -> u64 {
    if step < 2 * STEPS {
        return step as u64;
    }
    let doublings = step / STEPS - 1;
    let first = (step - doublings * STEPS) as u64;
    (first << doublings) + ((1 << doublings) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_middle_of_a_step_is_near_all_that_is_in_it(value in 0..=LONGEST) {
            let near = middle(step(value));
            prop_assert!(near.abs_diff(value) * 250 <= value, "{value}: {near}");
            prop_assert!(step(value) <= step(value + 1));
        }

        #[test]
        fn percentiles_are_those_of_the_list(mut list in prop::collection::vec(0..1_u64 << 36, 1..300)) {
            let (mut whole, mut one, mut two) = (Histogram::new(), Histogram::new(), Histogram::new());
            for (at, value) in list.iter().enumerate() {
                whole.add(*value);
                if at % 2 == 0 { one.add(*value) } else { two.add(*value) }
            }
            one.merge(&two);
            prop_assert_eq!(&one, &whole);
            list.sort_unstable();
            for share in [1, 500, 990, 999, 1000] {
                let rank = (list.len() as u64 * share).div_ceil(1000).max(1);
                let exact = list[usize::try_from(rank).expect("small") - 1];
                prop_assert!(whole.per_mille(share).abs_diff(exact) * 200 <= exact, "{share}");
            }
            prop_assert_eq!(whole.max(), *list.last().expect("not empty"));
            prop_assert_eq!(whole.count(), list.len() as u64);
        }
    }

    #[test]
    fn it_is_bounded_and_nothing_has_percentiles_of_zero() {
        let mut histogram = Histogram::new();
        assert_eq!((histogram.per_mille(500), histogram.max()), (0, 0));
        assert!(histogram.counts.len() < 5000);
        histogram.add(u64::MAX);
        assert_eq!((histogram.count(), histogram.max()), (1, u64::MAX));
    }
}
