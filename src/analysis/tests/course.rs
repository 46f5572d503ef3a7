//! How a family fares block by block: claims, looks, drops and stops.

use super::*;

const LOOKS: Rule = Rule::Looks { min: 8, max: 20 };
const BAD: f64 = 1.3;

fn criteria(rule: Rule) -> Criteria {
    Criteria {
        rule,
        ..Criteria::default()
    }
}

/// A candidate of several responses, all to be maximised.
fn several(responses: &[&[f64]]) -> Candidate {
    Candidate {
        treatment: "none".into(),
        responses: responses
            .iter()
            .map(|ratios| series("iops", Goal::Maximize, ratios))
            .collect(),
        guards: Vec::new(),
    }
}

fn guarded(ratios: &[f64], latency: f64) -> Candidate {
    let latency: Vec<f64> = around(latency, 0.01, ratios.len());
    Candidate {
        guards: vec![Guard {
            series: series("p99", Goal::Minimize, &latency),
            margin: Margin::new(0.05).unwrap(),
            limit: None,
        }],
        ..candidate(ratios)
    }
}

/// Ratios that go to and fro about `centre`, so that every beginning of them is like the whole.
fn to_and_fro(centre: f64, half: f64, blocks: usize) -> Vec<f64> {
    (0..blocks)
        .map(|block| {
            let swing = half * (1.0 + 0.01 * block as f64);
            if block % 2 == 0 {
                centre + swing
            } else {
                centre - swing
            }
        })
        .collect()
}

fn at(family: &[Candidate], rule: Rule, done: u32) -> Judged {
    compare(family, &criteria(rule), done).unwrap()
}

fn claims(course: &Course) -> Vec<Option<bool>> {
    course
        .tested
        .iter()
        .flatten()
        .map(|tested| tested.claim)
        .collect()
}

#[test]
fn looks_are_registered_beforehand() {
    let (planned, beyond) = registered_looks(LOOKS);
    assert_eq!(planned, [8, 10, 12, 14, 17, 20]);
    assert_eq!(beyond, [30, 40, 60, 80]);
    assert_eq!(registered_looks(Rule::Fixed { blocks: 12 }), (vec![12], vec![]));
    assert_eq!(registered_looks(Rule::Anytime), (vec![], vec![]));
    for max in 2..60 {
        let (planned, beyond) = registered_looks(Rule::Looks { min: 2, max });
        let all: Vec<u32> = planned.into_iter().chain(beyond).collect();
        assert!(all.windows(2).all(|two| two[0] < two[1]), "{all:?}");
    }
}

#[test]
fn a_look_claims_and_blocks_between_do_not() {
    // Nothing at first, then a clear gain: at 12 blocks not yet provable, at 14 it is.
    let mut ratios = to_and_fro(1.0, 0.03, 4);
    ratios.extend(around(1.12, 0.01, 16));
    let family = [candidate(&ratios)];
    let claimed: Vec<u32> = (1..=20)
        .filter(|&done| claims(&at(&family, LOOKS, done).course) == [Some(true)])
        .collect();
    let first = claimed[0];
    assert!(
        registered_looks(LOOKS).0.contains(&first) && first > 8,
        "{claimed:?}"
    );
    assert_eq!(claimed, (first..=20).collect::<Vec<_>>(), "what is claimed stays");
    let before = at(&family, LOOKS, first - 1);
    let judgement = before.comparisons[0].primary();
    assert!(matches!(judgement.verdict, Verdict::Inconclusive { .. }));
    // The block between had the smaller p-value for all blocks since, and still was no claim.
    assert!(judgement.p_holm > judgement.claim_below);
}

#[test]
fn before_the_first_look_there_is_a_p_value_and_no_price() {
    let judged = at(&[candidate(&around(1.1, 0.01, 6))], LOOKS, 6);
    let judgement = judged.comparisons[0].primary();
    assert!((judgement.p_raw - 0.03125).abs() < 1e-12);
    assert!(judgement.claim_below == 0.0);
    assert!(matches!(judgement.verdict, Verdict::Inconclusive { .. }));
    assert_eq!(judged.course.stop, None);
}

#[test]
fn a_later_look_is_of_the_reserve() {
    // Provable only after the planned looks.
    let mut ratios = to_and_fro(1.0, 0.03, 16);
    ratios.extend(around(1.2, 0.01, 24));
    let family = [candidate(&ratios)];
    assert_eq!(claims(&at(&family, LOOKS, 20).course), [None]);
    let claimed: Vec<u32> = (20..=40)
        .filter(|&done| claims(&at(&family, LOOKS, done).course) == [Some(true)])
        .collect();
    assert!([30, 40].contains(&claimed[0]), "{claimed:?}");
    let fixed = at(&family, Rule::Fixed { blocks: 20 }, 20);
    assert_eq!(claims(&fixed.course), [None]);
}

/// The chance of any false claim over all looks and hypotheses, under heavy tails with one baseline for all.
#[test]
fn all_looks_and_hypotheses_share_one_error_rate() {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let mut wild = move || {
        let uniform: f64 = rng.random::<f64>() - 0.5;
        uniform.powi(3)
    };
    let (replays, mut hits) = (500, 0);
    for _ in 0..replays {
        let baseline: Vec<f64> = (0..20).map(|_| wild()).collect();
        let family: Vec<Candidate> = (0..2)
            .map(|_| {
                let ratios: Vec<f64> = baseline.iter().map(|b| (wild() - b).exp()).collect();
                candidate(&ratios)
            })
            .collect();
        let course = follow(&family, &criteria(LOOKS), 20).unwrap();
        hits += u32::from(claims(&course).iter().any(Option::is_some));
    }
    let bounds = clopper_pearson(hits, replays, Level::P95).unwrap();
    assert!(bounds.low <= 0.05, "{hits} of {replays}");
}

#[test]
fn a_dominated_candidate_is_dropped_and_the_leader_is_not() {
    let family = [
        candidate(&around(1.10, 0.01, 12)),
        candidate(&around(1.02, 0.01, 12)),
        candidate(&around(0.95, 0.01, 12)),
    ];
    let course = at(&family, LOOKS, 2).course;
    assert_eq!(course.dropped, [None; 3], "too few blocks to drop anything");
    let course = at(&family, LOOKS, 3).course;
    let dropped = Some(Dropped {
        after: 3,
        leader: Some(0),
    });
    assert_eq!(course.dropped, [None, dropped, dropped]);
    assert!(course.is_active(0) && !course.is_active(1) && !course.is_active(9));
    let fixed = at(&family, Rule::Fixed { blocks: 12 }, 12).course;
    assert_eq!(fixed.dropped, [None; 3], "what is judged once drops nothing");
}

#[test]
fn what_is_worse_than_the_baseline_is_dropped_without_a_leader() {
    let family = [
        candidate(&around(0.95, 0.01, 8)),
        candidate(&around(0.90, 0.01, 8)),
    ];
    let course = at(&family, LOOKS, 8).course;
    let dropped = Some(Dropped {
        after: 5,
        leader: None,
    });
    assert_eq!(course.dropped, [dropped; 2]);
    assert_eq!(course.stop, Some(Stop::Futility));
}

#[test]
fn a_candidate_is_kept_for_its_second_response() {
    let good = around(1.1, 0.01, 8);
    let fair = around(1.02, 0.01, 8);
    let family = [several(&[&good, &fair]), several(&[&fair, &good])];
    assert_eq!(at(&family, LOOKS, 8).course.dropped, [None; 2]);
}

#[test]
fn a_failed_guard_does_not_lead() {
    let family = [
        guarded(&around(1.30, 0.01, 10), BAD),
        guarded(&around(1.10, 0.01, 10), 1.0),
        guarded(&around(1.02, 0.01, 10), 1.0),
    ];
    let course = at(&family, LOOKS, 10).course;
    let dropped = Some(Dropped {
        after: 3,
        leader: Some(1),
    });
    assert_eq!(course.dropped, [None, None, dropped]);
    assert_eq!(course.stop, Some(Stop::Superiority));
    let alone = at(&family[..1], LOOKS, 10);
    assert_eq!(claims(&alone.course), [Some(true)]);
    assert_eq!(
        alone.course.stop, None,
        "a claim with a failed guard is no winner"
    );
}

#[test]
fn a_run_stops_for_a_reason() {
    let stop = |ratios: &[f64], done| at(&[candidate(ratios)], LOOKS, done).course.stop;
    let better = around(1.1, 0.02, 20);
    assert_eq!(stop(&better, 8), Some(Stop::Superiority));
    assert_eq!(stop(&better, 9), None, "only at looks");
    let equal = to_and_fro(1.0, 0.002, 20);
    assert_eq!(stop(&equal, 8), Some(Stop::Equivalence));
    assert_eq!(stop(&to_and_fro(1.0, 0.1, 20), 20), None);
    // One candidate equal, another worse: there is nothing to gain.
    let family = [candidate(&equal), candidate(&around(0.9, 0.01, 20))];
    assert_eq!(at(&family, LOOKS, 8).course.stop, Some(Stop::Futility));
    assert_eq!(
        at(&[], LOOKS, 8).course.stop,
        Some(Stop::Equivalence),
        "nothing is equal to the baseline"
    );
}

#[test]
fn no_gain_is_not_equivalence() {
    let ratios: Vec<f64> = (0..10)
        .map(|block| {
            let more = f64::from(block) * 1e-5;
            if block % 2 == 0 { 1.005 + more } else { 0.97 - more }
        })
        .collect();
    let judged = at(&[candidate(&ratios)], LOOKS, 8);
    assert_eq!(judged.comparisons[0].primary().verdict, Verdict::NoGain);
    assert_eq!(judged.course.stop, Some(Stop::Futility));
}

#[test]
fn a_dropped_candidate_says_so() {
    let mut family = [
        candidate(&around(1.10, 0.01, 12)),
        candidate(&around(1.02, 0.01, 12)),
    ];
    family[1].responses[0].pairs.truncate(3);
    let judged = at(&family, LOOKS, 12);
    let dropped = &judged.comparisons[1];
    assert_eq!(dropped.primary().verdict, Verdict::Dropped);
    assert_eq!(dropped.dropped.unwrap().after, 3);
    assert_eq!(dropped.primary().effect.blocks, 3);
    assert_eq!(dropped.primary().family, 2, "it stays in the family");
}

#[test]
fn any_block_of_an_anytime_run_may_claim() {
    let better = [candidate(&around(1.1, 0.01, 40))];
    let claimed: Vec<u32> = (1..=40)
        .filter(|&done| claims(&at(&better, Rule::Anytime, done).course) == [Some(true)])
        .collect();
    let first = claimed[0];
    assert!((7..30).contains(&first), "{first}");
    assert_eq!(claimed, (first..=40).collect::<Vec<_>>());
    let judged = at(&better, Rule::Anytime, first);
    assert_eq!(judged.course.stop, Some(Stop::Superiority));
    let judgement = judged.comparisons[0].primary();
    assert_eq!(judgement.verdict, Verdict::Better);
    assert!(judgement.p_raw <= 0.05 && (judgement.claim_below - 0.05).abs() < 1e-9);
    let before = at(&better, Rule::Anytime, first - 1).course;
    assert_eq!(before.stop, None);
    let nothing = [candidate(&to_and_fro(1.0, 0.05, 60))];
    assert_eq!(claims(&at(&nothing, Rule::Anytime, 60).course), [None]);
    let worse = [candidate(&around(0.9, 0.01, 40))];
    let course = at(&worse, Rule::Anytime, 5).course;
    assert_eq!(course.stop, Some(Stop::Futility), "it was dropped");
}

#[test]
fn holm_is_over_candidates_and_responses() {
    let (clear, open) = (around(1.1, 0.01, 10), to_and_fro(1.0, 0.05, 10));
    let family = [several(&[&clear, &open]), several(&[&open, &open])];
    let judged = at(&family, Rule::Fixed { blocks: 10 }, 10);
    let first = &judged.comparisons[0].responses[0];
    assert_eq!(first.family, 4);
    assert!((first.p_holm - 4.0 * first.p_raw).abs() < 1e-12);
    assert_eq!(first.verdict, Verdict::Better);
    assert!(judged.comparisons[0].is_better() && !judged.comparisons[1].is_better());
    // Seven blocks prove one hypothesis, not four.
    let seven = around(1.1, 0.01, 7);
    assert_eq!(verdict(&seven), Verdict::Better);
    let four = at(&[several(&[seven.as_slice(); 4])], Rule::Fixed { blocks: 7 }, 7);
    assert!(!four.comparisons[0].is_better());
}

#[test]
fn better_here_and_worse_there_is_not_better() {
    let (up, down) = (around(1.1, 0.01, 10), around(0.9, 0.01, 10));
    let family = [several(&[&up, &down])];
    let judged = at(&family, LOOKS, 10);
    let verdicts: Vec<_> = judged.comparisons[0]
        .responses
        .iter()
        .map(|r| r.verdict)
        .collect();
    assert_eq!(verdicts, [Verdict::Better, Verdict::Worse]);
    assert!(!judged.comparisons[0].is_better());
    assert_ne!(judged.course.stop, Some(Stop::Superiority));
}

#[test]
fn the_certificate_refuses_what_it_could_not_have_shown() {
    let two_percent = [candidate(&around(1.02, 0.002, 10))];
    let with = |certified_cv| {
        let criteria = Criteria {
            certified_cv,
            ..criteria(Rule::Fixed { blocks: 10 })
        };
        compare(&two_percent, &criteria, 10).unwrap().comparisons[0]
            .primary()
            .verdict
    };
    assert_eq!(with(None), Verdict::Better);
    assert_eq!(with(Some(0.01)), Verdict::Better);
    assert!(provable_floor(0.05, 10, Level::P95) > 1.02_f64.ln());
    assert!(matches!(with(Some(0.05)), Verdict::Inconclusive { .. }));
}

#[test]
fn the_certificate_lets_losses_pass_and_knows_the_first_response_only() {
    let criteria = Criteria {
        certified_cv: Some(0.05),
        ..criteria(Rule::Fixed { blocks: 10 })
    };
    let (much, loss) = (around(1.2, 0.01, 10), around(0.98, 0.002, 10));
    let verdicts = |responses: &[&[f64]]| {
        let judged = compare(&[several(responses)], &criteria, 10).unwrap();
        let responses = judged.comparisons[0].responses.iter();
        responses.map(|r| r.verdict).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(&[&much, &loss]), [Verdict::Better, Verdict::Worse]);
    assert_eq!(verdicts(&[&loss, &much]), [Verdict::Worse, Verdict::Better]);
}

#[test]
fn nothing_is_held_or_equivalent_before_the_first_look() {
    let rule = Rule::Fixed { blocks: 20 };
    let mut steady = guarded(&around(1.0, 0.001, 8), 1.0);
    let early = at(std::slice::from_ref(&steady), rule, 8).comparisons.remove(0);
    assert!(matches!(early.primary().verdict, Verdict::Inconclusive { .. }));
    assert_eq!(early.guards[0].outcome, GuardOutcome::Unproven);
    assert!(early.primary().effect.interval_percent.is_none());
    steady = guarded(&around(1.0, 0.001, 20), 1.0);
    let judged = at(&[steady], rule, 20).comparisons.remove(0);
    assert_eq!(judged.primary().verdict, Verdict::Equivalent);
    assert_eq!(judged.guards[0].outcome, GuardOutcome::Held);
}

#[test]
fn a_cap_is_told_from_coarse_steps() {
    // Half the blocks are equal: at the best value there is, and below it.
    let mut capped = candidate(&[1.0; 10]);
    for pair in capped.responses[0].pairs.iter_mut().take(4) {
        pair.candidate = 190.0;
    }
    let verdict = |candidate: Candidate| at(&[candidate], LOOKS, 10).comparisons[0].primary().verdict;
    assert_eq!(verdict(capped.clone()), Verdict::AtCap);
    capped.responses[0].pairs[0].candidate = 220.0;
    assert_eq!(verdict(capped), Verdict::NoResolution);
}

#[test]
fn what_lacks_resolution_is_never_a_winner() {
    let mut ratios = vec![1.0; 10];
    ratios.extend(around(1.2, 0.05, 10));
    let judged = at(&[candidate(&ratios)], Rule::Fixed { blocks: 20 }, 20);
    let judgement = judged.comparisons[0].primary();
    assert!(
        judgement.p_holm < 0.05,
        "the test alone would claim: {}",
        judgement.p_holm
    );
    assert_eq!(judgement.verdict, Verdict::NoResolution);
    let judged = at(&[candidate(&ratios)], LOOKS, 20);
    assert_ne!(judged.course.stop, Some(Stop::Superiority));
    assert_eq!(claims(&judged.course), [None]);
}

#[test]
fn an_open_block_counts_nowhere() {
    let family = [guarded(&around(1.1, 0.01, 9), 1.0)];
    let judged = at(&family, LOOKS, 8);
    let comparison = &judged.comparisons[0];
    assert_eq!(comparison.primary().effect.blocks, 8);
    assert_eq!(comparison.guards[0].effect.blocks, 8);
}

/// Families of up to three candidates with two responses and a guard.
fn families() -> impl Strategy<Value = Vec<Candidate>> {
    let ratios = || prop::collection::vec(0.9_f64..1.13, 22);
    let one = (ratios(), ratios(), 0.9_f64..1.2).prop_map(|(first, second, latency)| Candidate {
        guards: guarded(&first, latency).guards,
        ..several(&[&first, &second])
    });
    prop::collection::vec(one, 1..4)
}

fn rules() -> impl Strategy<Value = Rule> {
    prop_oneof![
        Just(LOOKS),
        Just(Rule::Looks { min: 5, max: 11 }),
        Just(Rule::Anytime),
        (4_u32..20).prop_map(|blocks| Rule::Fixed { blocks }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn later_blocks_change_nothing_earlier(family in families(), rule in rules(), done in 0_u32..22) {
        let known: Vec<Candidate> = family.iter().map(|candidate| candidate.upto(done)).collect();
        let criteria = criteria(rule);
        prop_assert_eq!(
            compare(&family, &criteria, done).unwrap(),
            compare(&known, &criteria, done).unwrap()
        );
        prop_assert_eq!(
            follow(&family, &criteria, done).unwrap(),
            follow(&known, &criteria, done).unwrap()
        );
    }

    #[test]
    fn claims_are_made_at_looks_and_stay(family in families(), rule in rules()) {
        prop_assume!(!matches!(rule, Rule::Fixed { .. }), "a fixed number is judged once");
        let (planned, beyond) = registered_looks(rule);
        let is_look = |done| rule == Rule::Anytime || planned.contains(&done) || beyond.contains(&done);
        let mut before = follow(&family, &criteria(rule), 0).unwrap();
        for done in 1..=22 {
            let now = follow(&family, &criteria(rule), done).unwrap();
            for (was, is) in claims(&before).into_iter().zip(claims(&now)) {
                prop_assert!(was.is_none() || was == is);
                prop_assert!(was == is || is_look(done));
            }
            for (was, is) in before.dropped.iter().zip(&now.dropped) {
                prop_assert!(was.is_none() || was == is);
                let leader = is.and_then(|dropped| dropped.leader);
                let leads = |leader: usize| {
                    now.dropped[leader].is_none_or(|led| is.is_some_and(|dropped| led.after > dropped.after))
                };
                prop_assert!(leader.is_none_or(leads));
            }
            before = now;
        }
    }

    #[test]
    fn the_order_of_candidates_does_not_matter(family in families(), rule in rules(), done in 5_u32..22) {
        let turned: Vec<Candidate> = family.iter().rev().cloned().collect();
        let (ours, theirs) = (at(&family, rule, done), at(&turned, rule, done));
        prop_assert_eq!(ours.course.stop, theirs.course.stop);
        let place = |leader: Option<usize>| leader.map(|leader| family.len() - 1 - leader);
        for (one, other) in ours.comparisons.iter().zip(theirs.comparisons.iter().rev()) {
            prop_assert_eq!(one.dropped.map(|d| d.after), other.dropped.map(|d| d.after));
            prop_assert_eq!(one.dropped.and_then(|d| d.leader), place(other.dropped.and_then(|d| d.leader)));
            prop_assert_eq!(&one.guards, &other.guards);
            for (a, b) in one.responses.iter().zip(&other.responses) {
                prop_assert_eq!(a.verdict, b.verdict);
                prop_assert_eq!((a.p_raw, a.p_holm), (b.p_raw, b.p_holm));
                prop_assert_eq!(&a.effect, &b.effect);
            }
        }
    }
}
