//! Order statistics of the Walsh averages `(x_i + x_j) / 2`, i ≤ j, found without making them all. Does not know what
//! they are for.
//!
//! Of sorted values the averages ascend along rows and columns, so one walk down the stairs counts how many lie below
//! a bound (Monahan 1984, "Algorithm 616", ACM Transactions on Mathematical Software 10). Two bounds out of a sample
//! of the averages close in on the wanted one (Floyd & Rivest 1975, "Expected time bounds for selection",
//! Communications of the ACM 18). Bounds are averages themselves, so that the result is exact.

/// So few averages a value are made and searched: closing in further would cost more.
const FEW: usize = 4;
/// A sample is never smaller.
const SMALLEST_SAMPLE: usize = 64;

/// The averages of some values.
pub(super) struct WalshAverages {
    sorted: Vec<f64>,
}

impl WalshAverages {
    pub(super) fn new(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        Self { sorted }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sorted.len() * (self.sorted.len() + 1) / 2
    }

    /// All of them, ascending.
    pub(super) fn ascending(&self) -> Vec<f64> {
        let mut all = self.within(&Rows::all(self.sorted.len()));
        all.sort_unstable_by(f64::total_cmp);
        all
    }

    pub(super) fn median(&self) -> f64 {
        let middle = self.len() / 2;
        if self.len() % 2 == 1 {
            return self.at(middle);
        }
        let lower = self.at(middle - 1);
        f64::midpoint(lower, self.following(lower, middle))
    }

    /// The one that `rank` others come before.
    pub(super) fn at(&self, rank: usize) -> f64 {
        let mut rows = Rows::all(self.sorted.len());
        let mut rank = rank;
        let mut is_closing_in = true;
        loop {
            let left = rows.len();
            if left <= FEW * self.sorted.len() {
                let mut few = self.within(&rows);
                return *few.select_nth_unstable_by(rank, f64::total_cmp).1;
            }
            let (low, high) = self.bounds(&rows, rank, is_closing_in);
            let below = rows.upto(&self.stairs(|average| average < low));
            let not_above = rows.upto(&self.stairs(|average| average <= high));
            rows = if rank < below.len() {
                below
            } else if rank >= not_above.len() {
                rank -= not_above.len();
                rows.after(&not_above)
            } else if low < high {
                rank -= below.len();
                not_above.after(&below)
            } else {
                return low;
            };
            // Bounds that do not close in are the ends of what is left; one bound in its middle always takes some off.
            is_closing_in = 2 * rows.len() <= left;
        }
    }

    /// The average at `rank`, which is this one or the next larger.
    fn following(&self, average: f64, rank: usize) -> f64 {
        let stairs = self.stairs(|other| other <= average);
        let rows = Rows::all(self.sorted.len());
        if rows.upto(&stairs).len() > rank {
            return average;
        }
        let first_larger = stairs.iter().enumerate().filter_map(|(row, &end)| {
            let column = end.max(row);
            Some(f64::midpoint(self.sorted[row], *self.sorted.get(column)?))
        });
        first_larger.fold(f64::INFINITY, f64::min)
    }

    /// For each row the end of the columns that `is_within` a bound.
    fn stairs(&self, is_within: impl Fn(f64) -> bool) -> Vec<usize> {
        let mut end = self.sorted.len();
        let row = |first: &f64| {
            while end > 0 && !is_within(f64::midpoint(*first, self.sorted[end - 1])) {
                end -= 1;
            }
            end
        };
        self.sorted.iter().map(row).collect()
    }

    /// Two averages with the one at `rank` most likely between them; the same twice when they are not to close in.
    fn bounds(&self, rows: &Rows, rank: usize, is_closing_in: bool) -> (f64, f64) {
        let stride = (rows.len() / self.sorted.len().max(SMALLEST_SAMPLE)).max(1);
        let mut sample = Vec::new();
        let mut skip = stride / 2;
        for (row, &(start, end)) in rows.0.iter().enumerate() {
            let columns = (start + skip..end).step_by(stride);
            skip = (start + skip + columns.len() * stride).saturating_sub(end);
            sample.extend(columns.map(|column| f64::midpoint(self.sorted[row], self.sorted[column])));
        }
        sample.sort_unstable_by(f64::total_cmp);
        let place = rank / stride;
        let spread = if is_closing_in { sample.len().isqrt() } else { 0 };
        let last = sample.len() - 1;
        (
            sample[place.saturating_sub(spread).min(last)],
            sample[(place + spread).min(last)],
        )
    }

    fn within(&self, rows: &Rows) -> Vec<f64> {
        let mut averages = Vec::with_capacity(rows.len());
        for (&first, &(start, end)) in self.sorted.iter().zip(&rows.0) {
            let columns = self.sorted[start..end].iter();
            averages.extend(columns.map(|&second| f64::midpoint(first, second)));
        }
        averages
    }
}

/// For each row the columns that are left: start and end.
struct Rows(Vec<(usize, usize)>);

impl Rows {
    fn all(values: usize) -> Self {
        Self((0..values).map(|row| (row, values)).collect())
    }

    fn len(&self) -> usize {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// Only what stands before these ends.
    fn upto(&self, ends: &[usize]) -> Self {
        let row = |(&(start, end), &before): (&(usize, usize), &usize)| (start, before.clamp(start, end));
        Self(self.0.iter().zip(ends).map(row).collect())
    }

    /// Only what stands after these rows, which are first parts of this one's.
    fn after(&self, first: &Self) -> Self {
        let row = |(&(_, end), &(_, start)): (&(usize, usize), &(usize, usize))| (start, end);
        Self(self.0.iter().zip(&first.0).map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_is_where_sorting_puts_it(
            values in prop_oneof![
                proptest::collection::vec(-1e3..1e3_f64, 1..120),
                proptest::collection::vec((-3..3_i32).prop_map(f64::from), 1..120),
            ],
            share in 0.0..1.0_f64,
        ) {
            let averages = WalshAverages::new(&values);
            let all = averages.ascending();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the length")]
            let rank = (share * all.len() as f64) as usize;
            prop_assert!(averages.at(rank).total_cmp(&all[rank]).is_eq());
            let middle = all.len() / 2;
            let median = if all.len() % 2 == 1 {
                all[middle]
            } else {
                f64::midpoint(all[middle - 1], all[middle])
            };
            prop_assert!(averages.median().total_cmp(&median).is_eq());
        }
    }
}
