//! Several responses in words: where each treatment stands in all of them, and the weights that choose. Knows no layout.

use super::wording;
use crate::analysis::Rule;
use crate::decision::{Chain, Place, Standing, claim_rule};
use crate::event::RunHeader;
use crate::experiment::Weighed;

/// Heads [`standings`].
pub(super) const TITLE: &str = "treatments in all responses, each interval at 95 % for itself";

/// Where each treatment stands in the responses together.
pub(super) fn standings(header: &RunHeader, front: &[Place]) -> Vec<String> {
    let looks = match claim_rule(header) {
        Rule::Fixed { .. } => "",
        Rule::Looks { .. } | Rule::Anytime => " (not corrected for looks: a description)",
    };
    let one = |place: &Place| {
        let name = wording::tame(&place.treatment, wording::NAME);
        let effects = place.effects.iter().map(|effect| {
            let metric = wording::tame(&effect.metric, wording::NAME);
            format!(" {metric} {},", wording::change(effect))
        });
        let stands = match &place.standing {
            Standing::Front => "on the front: by the estimates none is at least as good in everything and better in something".into(),
            Standing::Dominated { by } => format!(
                "{} is at least as good in everything and better in something, by the estimates only",
                wording::tame(by, wording::NAME)
            ),
            Standing::ProvenDominated { by } => format!(
                "{} is shown better in something, and worse in nothing by as much as is of interest{looks}",
                wording::tame(by, wording::NAME)
            ),
        };
        let failed: Vec<_> = place
            .failed
            .iter()
            .map(|m| wording::tame(m, wording::NAME))
            .collect();
        let failed = match failed.as_slice() {
            [] => String::new(),
            failed => format!("; may not be adopted, it failed in {}", failed.join(", ")),
        };
        format!("{name}:{} {stands}{failed}", effects.collect::<String>())
    };
    front.iter().map(one).collect()
}

/// The weights as options, while what they choose is not confirmed.
pub(super) fn unconfirmed_weights(chain: &Chain) -> Option<String> {
    let protocol = &chain.last_found().header.protocol;
    let weighed = protocol
        .weighed()
        .filter(|_| chain.confirmation.is_none())?
        .iter();
    let option = |w: &Weighed| {
        let metric = wording::tame(&protocol.name_of(&w.metric), wording::NAME);
        format!(" --weight {metric}={}", w.weight)
    };
    Some(weighed.map(option).collect())
}

/// What a weighted response is made of.
pub(super) fn weights(chain: &Chain) -> Option<(&'static str, Vec<String>)> {
    let protocol = &chain.last_found().header.protocol;
    let weighed = protocol.weighed()?.iter();
    let lines = weighed.map(|one| {
        let metric = wording::tame(&protocol.name_of(&one.metric), wording::NAME);
        format!("{metric}: {}", one.weight)
    });
    Some(("weights", lines.collect()))
}
