//! The table of seconds that a trial kept, read back. Knows the text that [`super::Series::csv`] writes.

/// Rows at most: what a [`super::Series`] holds, with some to spare.
const MOST: usize = 10_000;

/// What the host did beside one trial, by the second.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seconds {
    /// Position of the trial in the run, from 0.
    pub order: u32,
    /// Names of the metrics.
    pub metrics: Vec<String>,
    /// Seconds since the command began, and the metrics' values in the second that ended then.
    pub rows: Vec<(f64, Vec<Option<f64>>)>,
}

impl Seconds {
    /// Reads a table; `None` of what is none, or has no second in it.
    pub fn parse(order: u32, table: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(table).ok()?;
        let mut lines = text.lines();
        let mut head = lines.next()?.split(',');
        if head.next()? != "seconds" {
            return None;
        }
        let metrics: Vec<String> = head.map(Into::into).collect();
        let number = |cell: &str| cell.parse::<f64>().ok().filter(|v| v.is_finite());
        let row = |line: &str| {
            let mut cells = line.split(',');
            let at = number(cells.next()?)?;
            let values: Vec<_> = cells.map(number).collect();
            (values.len() == metrics.len()).then_some((at, values))
        };
        let rows: Vec<_> = lines.take(MOST).filter_map(row).collect();
        (!rows.is_empty()).then_some(Self { order, metrics, rows })
    }

    /// The numbers of one metric with their seconds.
    pub fn of<'a>(&'a self, metric: &str) -> impl Iterator<Item = (f64, f64)> + use<'a> {
        let place = self.metrics.iter().position(|m| m == metric);
        let rows = self.rows.iter();
        rows.filter_map(move |(at, values)| Some((*at, (*values.get(place?)?)?)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::telemetry::{Counter, Reading, Series};
    use std::time::Duration;

    #[test]
    fn what_a_series_writes_is_read_back() {
        let mut series = Series {
            began: Some(Duration::from_secs(1)),
            ..Series::default()
        };
        for second in 0..4u64 {
            let mut reading = Reading::empty(Duration::from_secs(second));
            reading.set(Counter::Cpu, Some(second * 500_000_000));
            reading.set(Counter::DiskReads, (second != 2).then_some(second * 100));
            series.push(reading);
        }
        let seconds = Seconds::parse(7, &series.csv()).unwrap();
        assert_eq!((seconds.order, seconds.rows.len()), (7, 3));
        assert_eq!(seconds.metrics, ["cpu", "disk_reads"]);
        assert_eq!(
            seconds.of("cpu").collect::<Vec<_>>(),
            [(0.0, 0.5), (1.0, 0.5), (2.0, 0.5)]
        );
        assert_eq!(seconds.of("disk_reads").count(), 1);
        assert_eq!(seconds.of("no such").count(), 0);
    }

    #[test]
    fn what_is_no_table_is_not_read() {
        for text in ["", "seconds", "iops,cpu\n1,2\n", "seconds,cpu\n1\nx,2\n1,2,3\n"] {
            assert_eq!(Seconds::parse(0, text.as_bytes()), None, "{text}");
        }
        assert_eq!(Seconds::parse(0, &[0xff, 0xfe]), None);
        let odd = Seconds::parse(0, b"seconds,cpu\n1,inf\n2,\n").unwrap();
        assert_eq!(odd.of("cpu").count(), 0);
    }
}
