//! Chains with trials that were lost, or with confirmations that are too short.

use super::chain::{Machine, adopted, bundle, chain, nothing, two_useful};
use crate::decision::{Advice, KeepReason, Link, Minimality, Next, Why, advise};
use crate::design::Part;
use crate::event::{Outcome, Purpose, Stage};

/// The candidate has no number in the first blocks.
fn lose(link: &mut Link, blocks: u32) {
    let id = link.header.plan.treatments[1].id.clone();
    for record in &mut link.records {
        if (1..=blocks).contains(&record.trial.block) && record.trial.treatment == id {
            record.outcome = Outcome::Failed {
                stage: Stage::Measure,
                message: "no".into(),
            };
        }
    }
}

/// Blocks and pairs of a confirmation that were too few; `None` of an adoption.
fn too_few(advice: &Advice) -> Option<(u32, usize)> {
    match advice {
        Advice::Adopt(_) => None,
        Advice::Keep(kept) => match kept.why {
            Why::NotConfirmed {
                reason: KeepReason::TooFew { blocks, pairs },
                ..
            } => Some((blocks, pairs)),
            _ => panic!("{kept:?}"),
        },
        Advice::Unfinished { .. } => panic!("{advice:?}"),
    }
}

#[test]
fn a_confirmation_may_lose_two_trials_and_no_more() {
    let (whole, _) = Machine::new(bundle(1), two_useful, 0.01, 11).night();
    for (lost, wanted) in [(0, None), (2, None), (3, Some((12, 9))), (5, Some((12, 7)))] {
        let mut chain = whole.clone();
        lose(chain.confirmation.as_mut().unwrap(), lost);
        assert_eq!(too_few(&advise(&chain).unwrap()), wanted, "{lost} lost");
    }
}

#[test]
fn a_confirmation_of_fewer_than_twelve_blocks_adopts_nothing() {
    let mut machine = Machine::new(bundle(1), two_useful, 0.01, 12);
    let mut chain = chain(machine.run(Part::Whole, Purpose::Sweep));
    let Advice::Unfinished {
        next: Next::Confirm { of, levels },
    } = advise(&chain).unwrap()
    else {
        panic!("nothing found")
    };
    for (blocks, wanted) in [(6, Some((6, 6))), (11, Some((11, 11))), (12, None)] {
        let levels = &levels;
        let confirmation = machine.run(Part::Confirm { levels, blocks }, Purpose::Confirm { of });
        chain.confirmation = Some(confirmation);
        assert_eq!(too_few(&advise(&chain).unwrap()), wanted, "{blocks} blocks");
    }
}

#[test]
fn the_whole_stays_where_too_little_is_known_of_what_is_left() {
    let (mut chain, advice) = Machine::new(bundle(4), two_useful, 0.01, 1).night();
    assert!(adopted(&advice).is_minimal());
    lose(chain.minimal.as_mut().unwrap(), 3);
    let advice = advise(&chain).unwrap();
    let proven = adopted(&advice);
    assert_eq!(
        (proven.minimality(), proven.settings().len()),
        (Minimality::WholeStays, 4)
    );
    assert!(!proven.is_minimal());
}

#[test]
fn what_was_lost_proves_nothing() {
    let mut machine = Machine::new(bundle(1), nothing, 0.01, 13);
    let mut found = machine.run(Part::Whole, Purpose::Sweep);
    let provable = |found: &Link| match advise(&chain(found.clone())).unwrap() {
        Advice::Keep(kept) => kept.provable_percent,
        other => panic!("{other:?}"),
    };
    assert!(provable(&found).is_some());
    lose(&mut found, 9);
    assert_eq!(provable(&found), None, "three pairs");
}
