//! What a tunable is set to on one host and guest, what else it could be set to, or why it cannot be set.
//!
//! Pure: judges by the readings in [`Facts`].

use super::{LevelError, Tunable};
use crate::facts::Facts;
use serde::Serialize;

/// A tunable as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Offer {
    /// It can be set.
    Available {
        /// What is set now; absent when it comes with a module that is not loaded.
        now: Option<String>,
        /// Words it can be set to; empty when it is not a choice.
        choices: Vec<String>,
    },
    /// It cannot be set here.
    Unavailable {
        /// The reason in words.
        why: String,
    },
}

/// What host and guest offer for a tunable, its places read beforehand.
pub fn offer(tunable: &Tunable, facts: &Facts) -> Offer {
    let unavailable = |error: LevelError| Offer::Unavailable {
        why: match error {
            LevelError::Absent { why, .. } => why,
            other => other.to_string(),
        },
    };
    let address = match tunable.available(facts).and_then(|()| tunable.address(facts)) {
        Ok(address) => address,
        Err(error) => return unavailable(error),
    };
    let now = facts.reading(&address).map(|raw| {
        let selected = address.selected(raw);
        let canonical = tunable.kind.parse(selected);
        canonical.map_or_else(|_| selected.trim().to_string(), |value| value.to_string())
    });
    if now.is_none() && tunable.module_on_demand(facts).is_none() {
        return Offer::Unavailable {
            why: format!("{address} is not there or cannot be read"),
        };
    }
    let words = tunable.generators().iter().map(ToString::to_string).collect();
    let choices = match tunable.choices(facts) {
        Ok(Some(choices)) => choices,
        Ok(None) => words,
        Err(error) => return unavailable(error),
    };
    Offer::Available { now, choices }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::lookup;
    use super::*;

    fn facts(readings: &[(&str, &str)]) -> Facts {
        Facts {
            readings: readings
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
            record: [
                ("host.kernel".to_string(), "6.18.5".to_string()),
                ("guest.kernel".into(), "6.1.0-1".into()),
            ]
            .into(),
            guest_modules: ["nf_conntrack".to_string()].into(),
            guest_disk: Some("vdb".into()),
            ..Facts::default()
        }
    }

    fn why(name: &str, facts: &Facts) -> String {
        match offer(&lookup(name).unwrap(), facts) {
            Offer::Unavailable { why } => why,
            found @ Offer::Available { .. } => panic!("{found:?}"),
        }
    }

    #[test]
    fn what_is_there_is_told_with_its_choices() {
        let facts = facts(&[
            ("guest:/sys/block/vdb/queue/scheduler", "[none] mq-deadline\n"),
            ("host:/proc/sys/vm/swappiness", "60\n"),
        ]);
        let found = offer(&lookup("guest.disk.scheduler").unwrap(), &facts);
        let Offer::Available { now, choices } = found else {
            panic!()
        };
        assert_eq!(
            (now.as_deref(), choices),
            (Some("none"), vec!["mq-deadline".to_string(), "none".into()])
        );
        let found = offer(&lookup("host.swappiness").unwrap(), &facts);
        assert!(
            matches!(found, Offer::Available { now: Some(now), choices } if now == "60" && choices.is_empty())
        );
        // It comes with a module that can be loaded.
        let found = offer(&lookup("guest.net.conntrack-max").unwrap(), &facts);
        assert!(matches!(found, Offer::Available { now: None, .. }));
    }

    #[test]
    fn what_is_missing_is_told_with_the_reason() {
        let facts = facts(&[]);
        assert!(why("host.net.tcp-tw-recycle", &facts).contains("since 4.12"));
        assert!(why("host.net.tcp-tw-recycle", &facts).contains("tcp_tw_reuse"));
        assert!(why("host.kvm.halt-poll-ns", &facts).contains("module kvm is not loaded"));
        assert!(why("domain.numa.mode", &facts).contains("more than one NUMA node"));
        assert!(why("host.swappiness", &facts).contains("not there"));
        assert!(why("domain.net.backend", &facts).contains("vhost"));
    }
}
