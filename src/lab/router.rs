//! A long path between host and guest: a router of the lab's own that delays, loses and holds back packets.
//!
//! Knows the commands and what they tell; does not run them. What they tell comes from guests and is not trusted.
//!
//! The router has two interfaces on the lab's one bridge, one to each side, because netem works on what leaves an
//! interface: so each direction has a queue of its own, as on a real path.

use super::{BRIDGE, GUEST_ADDRESS, HOST_ADDRESS};
use crate::diagnostic::one_line;
use crate::experiment::LongPath;
use serde::Deserialize;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The router's address; it forwards what it gets for host and guest.
pub const ROUTER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
/// Pings that prove the path.
const LEAST: i32 = 5;
/// A loss of half, the most there may be, takes 49, and these 10 s.
const MOST: i32 = 50;
/// Characters of what the router says in a message at most.
const TAIL: usize = 200;
/// To the host, and to the guest.
const LINKS: [&str; 2] = ["eth0", "eth1"];

/// Program and arguments.
pub type Command = Vec<String>;

fn words(line: &str) -> Command {
    line.split_whitespace().map(String::from).collect()
}

/// Kernel files of the router, and what they are to hold: it forwards and tells nobody of a shorter way.
pub fn router_files() -> Vec<(String, &'static str)> {
    let of = |name: &str| format!("/proc/sys/net/ipv4/{name}");
    let mut files = vec![(of("ip_forward"), "1")];
    for link in ["all", "default"].into_iter().chain(LINKS) {
        for (name, value) in [
            ("send_redirects", "0"),
            ("rp_filter", "0"),
            // Only the interface that has the address answers for it.
            ("arp_ignore", "1"),
        ] {
            files.push((of(&format!("conf/{link}/{name}")), value));
        }
    }
    files
}

/// Kernel files of the guest, and what they are to hold.
pub fn guest_files() -> Vec<(String, &'static str)> {
    let of = |link: &str| format!("/proc/sys/net/ipv4/conf/{link}/accept_redirects");
    vec![(of("all"), "0"), (of("eth0"), "0")]
}

/// The same of the host's end, in the lab's network.
pub fn host_files() -> Vec<(String, &'static str)> {
    let of = |link: &str, name: &str| format!("/proc/sys/net/ipv4/conf/{link}/{name}");
    vec![
        (of("all", "accept_redirects"), "0"),
        (of(BRIDGE, "accept_redirects"), "0"),
        (of("all", "rp_filter"), "0"),
        (of(BRIDGE, "rp_filter"), "0"),
    ]
}

/// What makes a router of a guest that has just booted.
pub fn router_commands(path: &LongPath) -> Vec<Command> {
    let mut all = vec![
        words("modprobe sch_netem"),
        words("ip link set eth1 up"),
        words(&format!("ip route replace {GUEST_ADDRESS}/32 dev eth1")),
    ];
    for link in LINKS {
        // What is put together on arrival would be lost together.
        all.push(words(&format!("ethtool -K {link} gro off")));
        all.push(netem(link, path));
    }
    all
}

fn netem(link: &str, path: &LongPath) -> Command {
    let delay = path.rtt.0.as_micros() / 2;
    let mut command = words(&format!(
        "tc qdisc replace dev {link} root netem limit {} delay {delay}us",
        path.queue
    ));
    if path.loss.0 > 0.0 {
        command.extend(["loss".into(), format!("{}%", path.loss.0)]);
    }
    if let Some(rate) = path.rate {
        command.extend(["rate".into(), format!("{}bit", rate.0)]);
    }
    command
}

/// What leads the guest over the router.
pub fn guest_commands() -> Vec<Command> {
    vec![words(&format!(
        "ip route replace {HOST_ADDRESS}/32 via {ROUTER_ADDRESS}"
    ))]
}

/// What leads the host there, in the lab's network.
pub fn host_commands() -> Vec<Command> {
    vec![words(&format!(
        "ip route replace {GUEST_ADDRESS}/32 via {ROUTER_ADDRESS} dev {BRIDGE}"
    ))]
}

/// Tells what the router does with packets; [`is_in_effect`] reads it.
pub fn look() -> Command {
    words("tc -j qdisc show")
}

/// Pings in the guest that tell its round trip to the host, as many as it takes for one to come back.
pub fn ping(path: &LongPath) -> Command {
    words(&format!(
        "busybox ping -c {} -i 0.2 -W 5 -q {HOST_ADDRESS}",
        pings(path.loss.fraction())
    ))
}

/// So many that all of them are lost once in a million times: each must come through twice.
fn pings(loss: f64) -> i32 {
    let fails = 1.0 - (1.0 - loss).powi(2);
    let mut counts = LEAST..=MOST;
    counts.find(|&n| fails.powi(n) <= 1e-6).unwrap_or(MOST)
}

/// How much longer than what is set a round trip may be: guests and bridges take their time, above all emulated.
pub fn most(rtt: Duration) -> Duration {
    rtt + rtt / 5 + Duration::from_millis(20)
}

#[derive(Deserialize)]
struct Qdisc {
    kind: String,
    dev: String,
    #[serde(default)]
    options: Options,
}

/// As tc(8) of iproute2 6.1 tells them: seconds, shares of one, bytes a second.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Options {
    limit: Option<u32>,
    delay: Option<Delay>,
    #[serde(rename = "loss-random")]
    loss: Option<Loss>,
    rate: Option<Rate>,
}

#[derive(Deserialize)]
struct Delay {
    delay: f64,
}

#[derive(Deserialize)]
struct Loss {
    loss: f64,
}

#[derive(Deserialize)]
struct Rate {
    rate: f64,
}

/// Whether both of the router's interfaces do what the path asks for; else what does not hold.
pub fn is_in_effect(path: &LongPath, told: &[u8]) -> Result<(), String> {
    let all: Vec<Qdisc> = serde_json::from_slice(told).map_err(|e| {
        // Also the words of an error are the guest's.
        let why = one_line(&e.to_string(), TAIL);
        format!("tc in the router cannot be read: {why}")
    })?;
    for link in LINKS {
        let found = all.iter().find(|q| q.dev == link && q.kind == "netem");
        let Some(Qdisc { options, .. }) = found else {
            return Err(format!("the router's {link} has no netem"));
        };
        let half = path.rtt.0.as_secs_f64() / 2.0;
        let rate = path.rate.map_or(0.0, |rate| rate.0 as f64 / 8.0);
        let held = [
            ("delay", options.delay.as_ref().map_or(0.0, |d| d.delay), half),
            (
                "loss",
                options.loss.as_ref().map_or(0.0, |l| l.loss),
                path.loss.fraction(),
            ),
            ("rate", options.rate.as_ref().map_or(0.0, |r| r.rate), rate),
            (
                "limit",
                f64::from(options.limit.unwrap_or(0)),
                f64::from(path.queue),
            ),
        ];
        for (name, found, wanted) in held {
            // The kernel keeps loss in 32 bits and delay in nanoseconds.
            if (found - wanted).abs() > wanted * 1e-3 + 1e-9 {
                return Err(format!(
                    "the router's {link} has a {name} of {found}, not {wanted}"
                ));
            }
        }
    }
    Ok(())
}

/// The shortest round trip of busybox's ping.
pub fn shortest(told: &[u8]) -> Option<Duration> {
    let text = String::from_utf8_lossy(told);
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("round-trip min/avg/max = "))?;
    let milliseconds: f64 = line.split('/').next()?.parse().ok()?;
    Duration::try_from_secs_f64(milliseconds / 1e3).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::experiment::BitRate;
    use crate::units::{Percent, Span};

    const PATH: LongPath = LongPath {
        rtt: Span(Duration::from_millis(50)),
        loss: Percent(0.1),
        rate: Some(BitRate(50_000_000)),
        queue: 1000,
    };

    #[test]
    fn each_way_has_half_the_round_trip() {
        let line = netem("eth1", &PATH).join(" ");
        assert_eq!(
            line,
            "tc qdisc replace dev eth1 root netem limit 1000 delay 25000us loss 0.1% rate 50000000bit"
        );
        let bare = LongPath {
            loss: Percent(0.0),
            rate: None,
            ..PATH
        };
        assert!(netem("eth0", &bare).join(" ").ends_with("delay 25000us"));
    }

    #[test]
    fn what_tc_tells_is_compared_with_what_was_asked() {
        let told = |loss: &str, second: &str| {
            let one = |dev: &str| {
                format!(
                    r#"{{"kind":"netem","handle":"8001:","dev":"{dev}","root":true,"refcnt":2,"options":{{"limit":1000,"delay":{{"delay":0.025,"jitter":0,"correlation":0}},"loss-random":{{"loss":{loss},"correlation":0}},"rate":{{"rate":6250000,"packetoverhead":0,"cellsize":0,"celloverhead":0}},"ecn":false,"gap":0}}}}"#
                )
            };
            format!(
                r#"[{{"kind":"noqueue","dev":"lo","root":true,"options":{{}}}},{},{}]"#,
                one("eth0"),
                one(second)
            )
        };
        assert_eq!(
            is_in_effect(&PATH, told("0.00099999993", "eth1").as_bytes()),
            Ok(())
        );
        let wrong = is_in_effect(&PATH, told("0.01", "eth1").as_bytes()).unwrap_err();
        assert!(wrong.contains("loss"), "{wrong}");
        let missing = is_in_effect(&PATH, told("0.001", "eth2").as_bytes()).unwrap_err();
        assert!(missing.contains("eth1 has no netem"), "{missing}");
        assert!(is_in_effect(&PATH, b"[{").is_err());
        let hostile = format!("[\"\\u001b[31m{}\"]", "x".repeat(5000));
        let tamed = is_in_effect(&PATH, hostile.as_bytes()).unwrap_err();
        assert!(!tamed.contains('\x1b') && tamed.len() < 300, "{tamed}");
    }

    #[test]
    fn more_loss_takes_more_pings() {
        assert_eq!([0.0, 0.001, 0.1, 0.5].map(pings), [5, 5, 9, 49]);
        for loss in [0.1, 0.3, 0.5_f64] {
            let all_lost = |n| (1.0 - (1.0 - loss).powi(2)).powi(n);
            assert!(all_lost(pings(loss)) <= 1e-6 && all_lost(pings(loss) - 1) > 1e-6);
        }
    }

    #[test]
    fn the_shortest_round_trip_is_read() {
        let told = b"PING 10.77.0.1 (10.77.0.1): 56 data bytes\n\n--- 10.77.0.1 ping statistics ---\n5 packets transmitted, 5 packets received, 0% packet loss\nround-trip min/avg/max = 51.203/52.0/55.1 ms\n";
        assert_eq!(shortest(told), Some(Duration::from_micros(51_203)));
        assert_eq!(shortest(b"5 packets transmitted, 0 packets received"), None);
        assert_eq!(shortest(b"round-trip min/avg/max = -1/2/3 ms"), None);
    }
}
