//! One stream from the host to the guest that tells what the path between them carries, and how long it takes.
//!
//! Gives a job and reads what it left; does not run it. The report comes from the guest's peer and is not trusted.

use super::measure::{MeasureError, Places};
use super::{Library, ParseError, Workload};
use crate::diagnostic::one_line;
use crate::host::{Job, JobOutput};
use crate::units::Span;
use serde::Deserialize;

/// Which of the built-in workloads it is, shorter than that.
const STREAM: &str = "iperf3-host-to-guest";
const TIME: Span = Span::secs(2);
const WARMUP: Span = Span::secs(1);

/// Round trips longer than these are no measurement.
const LONGEST: u64 = 60_000_000;

/// What a path was seen to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathMeasured {
    /// What arrived, in bit/s.
    pub bandwidth: u64,
    /// Mean round trip meanwhile, in microseconds; 1 at least.
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

#[derive(Deserialize)]
struct Report {
    end: End,
}

#[derive(Deserialize)]
struct End {
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    sender: Sender,
}

#[derive(Deserialize)]
struct Sender {
    /// Microseconds; 0 where the kernel does not tell.
    mean_rtt: Option<u64>,
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
    let bandwidth = numbers.iter().find(|(name, _)| name == "bits_per_second");
    let bandwidth = bandwidth.map_or(0.0, |(_, value)| *value);
    if !(1.0..1e14).contains(&bandwidth) {
        return Err(ParseError::Content(format!("iperf3 reported {bandwidth} bit/s")).into());
    }
    let report: Report =
        serde_json::from_slice(&out.stdout).map_err(|e| ParseError::malformed("iperf3's round trips", &e))?;
    let rtt = report.end.streams.first().and_then(|s| s.sender.mean_rtt);
    match rtt {
        Some(rtt @ 1..=LONGEST) => Ok(PathMeasured {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
            bandwidth: bandwidth as u64,
            rtt,
        }),
        other => Err(ParseError::Content(format!("iperf3 reported a round trip of {other:?} µs")).into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn report(rate: &str, sender: &str) -> JobOutput {
        let end = format!(
            "{{\"streams\": [{{\"sender\": {sender}}}], \"sum_received\": {{\"bits_per_second\": {rate}}}}}"
        );
        JobOutput {
            stdout: format!("{{\"end\": {end}}}").into(),
            ..JobOutput::default()
        }
    }

    #[test]
    fn one_report_tells_bandwidth_and_round_trip() {
        let found = path_measured(&report("1.1e9", "{\"mean_rtt\": 900, \"min_rtt\": 40}")).unwrap();
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
        for (rate, sender) in [
            ("0", "{\"mean_rtt\": 900}"),
            ("-1", "{\"mean_rtt\": 900}"),
            ("1e300", "{\"mean_rtt\": 900}"),
            ("1e9", "{\"mean_rtt\": 0}"),
            ("1e9", "{\"mean_rtt\": -4}"),
            ("1e9", "{\"mean_rtt\": 99999999999}"),
            ("1e9", "{}"),
        ] {
            assert!(path_measured(&report(rate, sender)).is_err(), "{rate} {sender}");
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
