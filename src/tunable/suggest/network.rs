//! Buffers and queues from what is in flight: bandwidth times delay.

use super::words::{list, rate, size, time};
use super::{Draft, Ground};
use crate::facts::NetworkFacts;
use crate::tunable::LevelError;

/// Bytes a packet carries on a link nobody changed.
const PACKET: u64 = 1500;
/// Smaller buffers save nothing.
const LEAST_BUFFER: u64 = 64 << 10;
const LEAST_QUEUE: u64 = 64;

/// What the tuning guide gives links of a class: from this many bit/s on. A link seldom carries all that it is called.
const GUIDE: [(u64, &str, &[u64]); 2] = [
    (5_000_000_000, "10 Gbit/s", &[32 << 20, 54 << 20]),
    (500_000_000, "1 Gbit/s", &[16 << 20]),
];

fn measured<'f>(on: &Ground<'f>) -> Result<&'f NetworkFacts, LevelError> {
    on.facts.network.as_ref().ok_or_else(|| {
        on.nothing(if on.facts.simulated().is_some() {
            "the model describes no network; give it one, or write the levels"
        } else {
            "the network between host and guest cannot be measured here; write the levels, or use the lab"
        })
    })
}

/// The bandwidth-delay product, and how it comes about.
fn in_flight(network: &NetworkFacts) -> (u64, String) {
    let bits = u128::from(network.bandwidth) * u128::from(network.rtt);
    let bytes = u64::try_from(bits / 8_000_000).unwrap_or(u64::MAX);
    let told = format!(
        "measured {} x {} = {} in flight",
        rate(network.bandwidth),
        time(network.rtt),
        size(bytes)
    );
    (bytes, told)
}

/// The largest buffer of a socket; of a triple, least and default stay as they are.
pub(super) fn buffer(on: &Ground<'_>) -> Result<Draft, LevelError> {
    let network = measured(on)?;
    let (bytes, told) = in_flight(network);
    let now = on
        .now
        .as_deref()
        .ok_or_else(|| on.nothing("it could not be read"))?;
    // `least default largest`, or the largest alone.
    let kept: Vec<&str> = now.split_whitespace().collect();
    let kept = kept.split_last().map_or(&[][..], |(_, others)| others);
    let default = kept.last().and_then(|d| d.parse().ok()).unwrap_or(0);
    let least = LEAST_BUFFER.max(default);
    let mut sizes: Vec<u64> = [1, 2, 4]
        .map(|times| {
            bytes
                .saturating_mul(times)
                .checked_next_power_of_two()
                .unwrap_or(u64::MAX)
        })
        .map(|size| size.max(least))
        .to_vec();
    let mut parts = vec![
        told,
        format!(
            "levels 1x, 2x and 4x of it in powers of two, at least {}",
            size(least)
        ),
    ];
    let speed = network.link_speed.unwrap_or(network.bandwidth);
    if let Some((_, class, guide)) = GUIDE.iter().find(|(from, ..)| speed >= *from) {
        let shown: Vec<_> = guide.iter().map(|s| size(*s)).collect();
        parts.push(format!("{} as is usual for {class}", list(&shown)));
        sizes.extend(*guide);
    }
    if let Some(ram) = on.facts.ram(on.tunable.side()) {
        let most = ram.available.0 / 8;
        parts.push(format!(
            "at most {}, an eighth of the available memory",
            size(most)
        ));
        sizes.retain(|size| *size <= most);
    }
    let text = |size: u64| {
        kept.iter()
            .map(ToString::to_string)
            .chain([size.to_string()])
            .collect::<Vec<_>>()
    };
    Ok(Draft::new(
        sizes.into_iter().map(|size| text(size).join(" ")),
        parts.join("; "),
    ))
}

/// Queues that hold what is in flight.
pub(super) fn packets(on: &Ground<'_>) -> Result<Draft, LevelError> {
    let (bytes, told) = in_flight(measured(on)?);
    let packets = bytes.div_ceil(PACKET);
    let levels = [1, 4, 16].map(|times| packets.saturating_mul(times).max(LEAST_QUEUE).next_power_of_two());
    Ok(Draft::new(
        levels.map(|n| n.to_string()),
        format!(
            "{told}, {packets} packets of {PACKET} bytes; levels 1x, 4x and 16x of that in powers of two, at least \
             {LEAST_QUEUE}"
        ),
    ))
}
