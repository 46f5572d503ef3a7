//! Workloads of kvmtune's own program, in the lab: memory latency and short connections.

use crate::place::Place;
use kvmtune::event::Outcome;

/// The last workload needs 64 pages.
const EXPERIMENT: &str = "
[factor]
tunable = \"guest.hugepages.2MiB\"
levels = [0, 80]
[[workload]]
use = \"connection-rate\"
time = \"1s\"
warmup = \"0s\"
[[workload]]
use = \"connection-rate-guest-to-host\"
time = \"1s\"
warmup = \"0s\"
[[workload]]
use = \"load\"
[[workload]]
use = \"memory-latency-2m\"
time = \"1s\"
[design]
blocks = 2
";

/// Short, and of pages that every guest has: one of 512 MiB makes no transparent huge ones by itself.
const LOAD: &str = "summary = \"small working sets\"
run = \"guest\"
argv = [\"kvmtune-guest\", \"chase\", \"--bytes\", \"16KiB,4MiB\", \"--page\", \"4k\", \"--time\", \"{time}\"]
time = \"1s\"
parser = \"numbers\"
[[metric]]
name = \"latency_16kib_ns\"
unit = \"ns\"
goal = \"minimize\"
";

#[test]
fn the_guests_own_program_measures_memory_and_connections() {
    let Some(place) = Place::new(EXPERIMENT, LOAD) else {
        return;
    };
    place.run();
    for (label, record) in place.labelled() {
        match (label.contains("80"), &record.outcome) {
            (true, Outcome::Measured { observations, .. }) => {
                for (name, count) in [
                    ("connections_per_second", 2),
                    ("p99_us", 2),
                    ("served_percent", 2),
                    ("latency_16kib_ns", 2),
                    ("latency_128mib_ns", 1),
                ] {
                    let values = observations.iter().filter(|o| o.metric == name);
                    let good = values.filter(|o| o.value > 0.0).count();
                    assert_eq!(good, count, "{name}: {observations:#?}");
                }
                let failures = observations.iter().filter(|o| o.metric == "failures");
                assert!(
                    failures.map(|o| o.value).all(|count| count < 1.0),
                    "{observations:#?}"
                );
            }
            // Without a pool there is no number, and the way to one is told.
            (false, Outcome::Failed { message, .. }) => {
                assert!(message.contains("0 of the 0 in its pool are free"), "{message}");
            }
            other => panic!("{label}: {other:#?}"),
        }
    }
}
