//! One stream from the host to the guest that tells what the path between them carries, and how long it takes.
//!
//! Gives a job and reads what it left; does not run it. The report comes from the guest's peer and is not trusted.

use super::measure::{MeasureError, Places};
use super::{Library, ParseError, Workload};
use crate::diagnostic::one_line;
use crate::host::{Job, JobOutput};
use crate::units::Span;

/// Which of the built-in workloads it is, shorter than that.
const STREAM: &str = "iperf3-host-to-guest";
const TIME: Span = Span::secs(2);
const WARMUP: Span = Span::secs(1);

/// Round trips longer than this, in microseconds, are no measurement.
const LONGEST: f64 = 6e7;

/// What a path was seen to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathMeasured {
    /// What arrived, in bit/s.
    pub bandwidth: u64,
    /// Mean round trip in the seconds after slow start, in microseconds; 1 at least.
    pub rtt: u64,
}

/// The job that measures the path; `None` where host and guest have no network of kvmtune's own between them.
pub fn path_job(places: &Places) -> Option<Job> {
    if places.guest_address.is_empty() {
        return None;
    }
    let library = Library::builtin();
    let stream = library.get(STREAM)?;
    let short = Workload {
        time: TIME,
        warmup: WARMUP,
        ..stream.clone()
    };
    Some(short.job(places))
}

/// What the job's report says.
pub fn path_measured(out: &JobOutput) -> Result<PathMeasured, MeasureError> {
    if out.exit != 0 {
        return Err(MeasureError::Exit {
            program: "iperf3".into(),
            exit: out.exit,
            said: one_line(&String::from_utf8_lossy(&out.stderr), 200),
        });
    }
    let numbers = super::iperf3::parse(&out.stdout)?;
    let number = |wanted: &str| {
        let found = numbers.iter().find(|(name, _)| name == wanted);
        found.map_or(0.0, |(_, value)| *value)
    };
    let bandwidth = number("bits_per_second");
    if !(1.0..1e14).contains(&bandwidth) {
        return Err(ParseError::Content(format!("iperf3 reported {bandwidth} bit/s")).into());
    }
    let rtt = number("rtt_mean_us").round();
    if !(1.0..=LONGEST).contains(&rtt) {
        return Err(ParseError::Content(format!("iperf3 reported a round trip of {rtt} µs")).into());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    Ok(PathMeasured {
        bandwidth: bandwidth as u64,
        rtt: rtt as u64,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Of a second that was omitted and two that were not.
    fn report(rate: &str, rtt: &str) -> JobOutput {
        let interval = |omitted: bool, rtt: &str| {
            format!(
                "{{\"streams\": [{{{rtt} \"omitted\": {omitted}}}], \"sum\": {{\"end\": 1, \"bytes\": 1, \"omitted\": {omitted}}}}}"
            )
        };
        let intervals = [
            interval(true, "\"rtt\": 5,"),
            interval(false, rtt),
            interval(false, rtt),
        ];
        let (intervals, end) = (
            intervals.join(","),
            format!("{{\"sum_received\": {{\"bits_per_second\": {rate}}}}}"),
        );
        JobOutput {
            stdout: format!("{{\"intervals\": [{intervals}], \"end\": {end}}}").into(),
            ..JobOutput::default()
        }
    }

    #[test]
    fn one_report_tells_bandwidth_and_round_trip() {
        let found = path_measured(&report("1.1e9", "\"rtt\": 900,")).unwrap();
        assert_eq!(
            found,
            PathMeasured {
                bandwidth: 1_100_000_000,
                rtt: 900
            }
        );
    }

    #[test]
    fn what_is_no_measurement_is_refused() {
        for (rate, rtt) in [
            ("0", "\"rtt\": 900,"),
            ("-1", "\"rtt\": 900,"),
            ("1e300", "\"rtt\": 900,"),
            ("1e9", "\"rtt\": 0,"),
            ("1e9", "\"rtt\": -4,"),
            ("1e9", "\"rtt\": 99999999999,"),
            ("1e9", ""),
        ] {
            assert!(path_measured(&report(rate, rtt)).is_err(), "{rate} {rtt}");
        }
        let refused = JobOutput {
            stdout: b"{\"error\": \"unable to connect\"}".to_vec(),
            ..JobOutput::default()
        };
        let error = path_measured(&refused).unwrap_err().to_string();
        assert!(error.contains("unable to connect"), "{error}");
        let failed = JobOutput {
            exit: 127,
            ..JobOutput::default()
        };
        assert!(path_measured(&failed).is_err());
    }

    #[test]
    fn it_takes_a_network_between_host_and_guest() {
        assert_eq!(path_job(&Places::default()), None);
        let places = Places {
            guest_address: "10.0.0.2".into(),
            host_address: "10.0.0.1".into(),
            ..Places::default()
        };
        let job = path_job(&places).unwrap();
        assert!(job.argv.iter().any(|a| a == "10.0.0.2") && job.server.is_some());
        assert_eq!(job.expected, std::time::Duration::from_secs(3));
    }
}
