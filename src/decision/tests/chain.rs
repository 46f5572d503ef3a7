//! Chains of runs with planted effects, each run made up as the advice asks for it.

use super::evaluate::{measured, planned, trials};
use crate::analysis::{Level, clopper_pearson, median};
use crate::decision::{
    Advice, Chain, Fate, KeepReason, LevelOf, Link, Minimality, Next, Proven, Why, advise, settings,
};
use crate::design::{Part, Treatment};
use crate::event::{Outcome, Purpose, RunId, Stage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Four settings of the guest, each changed alone or together.
const SETTINGS: [(&str, &str, &str); 4] = [
    ("guest.disk.scheduler", "none", "bfq"),
    ("guest.swappiness", "60", "10"),
    ("guest.thp", "never", "always"),
    ("guest.vfs-cache-pressure", "100", "50"),
];

const END: &str = "[workload]\nuse = \"fio-randread-4k\"\n";

/// The baseline and all the first `several` settings at once.
pub(super) fn bundle(several: usize) -> String {
    let set = |place: fn(&(&'static str, &'static str, &'static str)) -> &'static str| {
        let each = SETTINGS[..several]
            .iter()
            .map(|s| format!("\"{}\" = \"{}\"", s.0, place(s)));
        each.collect::<Vec<_>>().join(", ")
    };
    format!(
        "[[treatment]]\nset = {{ {} }}\n[[treatment]]\nset = {{ {} }}\n{END}[design]\nkind = \"a-b\"\nblocks = 12\n",
        set(|s| s.1),
        set(|s| s.2)
    )
}

/// Each combination of the first `several` settings, or each alone.
fn sweep(several: usize, kind: &str) -> String {
    let factor = |(tunable, from, to): &(&str, &str, &str)| {
        format!(
            "[[factor]]\ntunable = \"{tunable}\"\nlevels = [\"{from}\", \"{to}\"]\nbaseline = \"{from}\"\n"
        )
    };
    let factors: String = SETTINGS[..several].iter().map(factor).collect();
    format!("{factors}{END}[design]\nkind = \"{kind}\"\n")
}

/// What a treatment does to the response, as a log-ratio to the baseline.
pub(super) type Truth = fn(&dyn Fn(usize) -> bool) -> f64;

fn truth_of(truth: Truth, treatment: &Treatment) -> f64 {
    let has = |place: usize| {
        let (tunable, _, level) = SETTINGS[place];
        treatment
            .levels
            .contains(&(tunable.to_string(), level.to_string()))
    };
    truth(&has)
}

/// A machine with noise: normal, with one trial in twenty five times as wide.
pub(super) struct Machine {
    truth: Truth,
    cv: f64,
    chance: ChaCha8Rng,
    runs: u128,
    text: String,
}

impl Machine {
    pub(super) fn new(text: String, truth: Truth, cv: f64, seed: u64) -> Self {
        let chance = ChaCha8Rng::seed_from_u64(seed);
        Self {
            truth,
            cv,
            chance,
            runs: 0,
            text,
        }
    }

    fn noise(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.chance.random::<f64>()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.chance.random::<f64>()).cos();
        let wide = if self.chance.random::<f64>() < 0.05 {
            5.0
        } else {
            1.0
        };
        self.cv * wide * normal
    }

    /// A run to its end, or to where its looks end it.
    pub(super) fn run(&mut self, part: Part<'_>, purpose: Purpose) -> Link {
        let mut header = planned(&self.text, part, purpose);
        self.runs += 1;
        header.run = RunId(uuid::Uuid::from_u128(self.runs));
        let blocks = header.plan.judged();
        let noise: Vec<Vec<f64>> = (0..=blocks)
            .map(|_| header.plan.treatments.iter().map(|_| self.noise()).collect())
            .collect();
        let iops = |block: u32, treatment: usize| {
            let effect = truth_of(self.truth, &header.plan.treatments[treatment]);
            5000.0 * (effect + noise[block as usize][treatment]).exp()
        };
        let records = trials(&header, blocks, |block, treatment| {
            Some(measured(&[("iops", iops(block, treatment))]))
        });
        Link::new(header, records, true)
    }

    fn follow(&mut self, next: &Next) -> Link {
        const BLOCKS: u32 = 12;
        match next {
            Next::Confirm { of, levels } => {
                let part = Part::Confirm {
                    levels,
                    blocks: BLOCKS,
                };
                self.run(part, Purpose::Confirm { of: *of })
            }
            Next::Minimal { of, levels, whole } => {
                let part = Part::Minimal {
                    levels,
                    whole,
                    blocks: BLOCKS,
                };
                self.run(part, Purpose::Confirm { of: *of })
            }
            Next::Ablate { of, levels } => {
                let part = Part::Ablate {
                    levels,
                    blocks: BLOCKS,
                };
                self.run(part, Purpose::Ablate { of: *of })
            }
            Next::Resume { .. } | Next::Stage { .. } => panic!("{next:?}"),
        }
    }

    /// Everything the protocol asks for, and what it comes to.
    pub(super) fn night(&mut self) -> (Chain, Advice) {
        let mut chain = chain(self.run(Part::Whole, Purpose::Sweep));
        loop {
            let advice = advise(&chain).unwrap();
            let next = match &advice {
                Advice::Unfinished { next } => Some(next),
                Advice::Adopt(proven) => proven.next(),
                Advice::Keep(_) => None,
            };
            let Some(next) = next else {
                return (chain, advice);
            };
            let link = self.follow(next);
            let place = match next {
                Next::Confirm { .. } => &mut chain.confirmation,
                Next::Ablate { .. } => &mut chain.ablation,
                _ => &mut chain.minimal,
            };
            assert!(place.replace(link).is_none(), "measured twice: {next:?}");
        }
    }
}

pub(super) fn chain(found: Link) -> Chain {
    Chain {
        asked: found.header.run,
        found: vec![found],
        confirmation: None,
        ablation: None,
        minimal: None,
    }
}

pub(super) fn adopted(advice: &Advice) -> &Proven {
    match advice {
        Advice::Adopt(proven) => proven,
        other => panic!("{other:?}"),
    }
}

fn tunables(levels: &[LevelOf]) -> Vec<&str> {
    levels.iter().map(|(tunable, _)| tunable.as_str()).collect()
}

/// The first two are of use, the others do nothing.
pub(super) fn two_useful(has: &dyn Fn(usize) -> bool) -> f64 {
    (if has(0) { 0.08 } else { 0.0 }) + if has(1) { 0.06 } else { 0.0 }
}

pub(super) fn nothing(_: &dyn Fn(usize) -> bool) -> f64 {
    0.0
}

#[test]
fn settings_without_use_are_left_out_and_the_rest_is_confirmed() {
    let (chain, advice) = Machine::new(bundle(4), two_useful, 0.01, 1).night();
    let proven = adopted(&advice);
    assert_eq!(
        tunables(&proven.settings()),
        ["guest.disk.scheduler", "guest.swappiness"]
    );
    assert_eq!(proven.minimality(), Minimality::Minimal);
    assert!(proven.is_minimal() && proven.next().is_none());
    let minimal = chain.minimal.unwrap().header;
    assert_eq!((proven.header(), proven.asked()), (&minimal, chain.asked));
    let fates: Vec<_> = proven
        .ablation()
        .unwrap()
        .settings
        .iter()
        .map(|s| s.fate.clone())
        .collect();
    assert_eq!(fates, [Fate::Needed, Fate::Needed, Fate::LeftOut, Fate::LeftOut]);
    let gain = proven.comparison().primary().effect.gain_percent.unwrap();
    assert!((gain - 15.0).abs() < 2.0, "{gain}");
}

#[test]
fn settings_that_stand_in_for_each_other_stay() {
    let either = |has: &dyn Fn(usize) -> bool| if has(0) || has(1) { 0.08 } else { 0.0 };
    let (_, advice) = Machine::new(bundle(2), either, 0.01, 2).night();
    let proven = adopted(&advice);
    assert_eq!(proven.minimality(), Minimality::NoneProven);
    assert_eq!((proven.settings().len(), proven.is_minimal()), (2, false));
    // With a third that is needed, what is left is better than the baseline and worse than the whole.
    let third: Truth = |has| {
        let either = if has(0) || has(1) { 0.08 } else { 0.0 };
        either + if has(2) { 0.06 } else { 0.0 }
    };
    let (chain, advice) = Machine::new(bundle(3), third, 0.01, 3).night();
    let proven = adopted(&advice);
    assert_eq!(proven.minimality(), Minimality::WholeStays);
    assert_eq!((proven.settings().len(), proven.is_minimal()), (3, false));
    assert_eq!(*proven.header(), chain.confirmation.unwrap().header);
    let left = proven
        .against_whole()
        .unwrap()
        .primary()
        .effect
        .gain_percent
        .unwrap();
    assert!((left + 7.7).abs() < 2.0, "{left}");
}

#[test]
fn one_setting_is_minimal_as_it_is() {
    let (chain, advice) = Machine::new(sweep(3, "one-at-a-time"), two_useful, 0.01, 4).night();
    let proven = adopted(&advice);
    assert_eq!(tunables(&proven.settings()), ["guest.disk.scheduler"]);
    assert_eq!(proven.minimality(), Minimality::Single);
    assert!(chain.ablation.is_none());
    let selection = proven.selection().unwrap();
    assert!(selection.shrunk_percent < selection.gain_percent, "{selection:?}");
    assert!(proven.evidence().iter().any(|line| line.contains("not used")));
}

#[test]
fn what_is_not_over_is_not_judged() {
    let mut machine = Machine::new(bundle(3), two_useful, 0.01, 5);
    let (whole, _) = machine.night();
    let cut = |change: &dyn Fn(&mut Chain)| {
        let mut chain = whole.clone();
        change(&mut chain);
        advise(&chain).unwrap()
    };
    let resumes = |advice: &Advice, run: RunId| matches!(advice, Advice::Unfinished { next: Next::Resume { run: r } } if *r == run);
    let found = whole.found[0].header.run;
    assert!(resumes(&cut(&|c| c.found[0].is_over = false), found));
    let confirmation = whole.confirmation.as_ref().unwrap().header.run;
    assert!(resumes(
        &cut(&|c| c.confirmation.as_mut().unwrap().is_over = false),
        confirmation
    ));
    let unconfirmed = cut(&|c| c.confirmation = None);
    assert!(matches!(unconfirmed, Advice::Unfinished { next: Next::Confirm { of, .. } } if of == found));
    // From the confirmation on there is something to adopt, which is not minimal yet.
    for (advice, wanted) in [
        (cut(&|c| c.ablation = None), "ablate"),
        (cut(&|c| c.ablation.as_mut().unwrap().is_over = false), "resume"),
        (cut(&|c| c.minimal = None), "minimal"),
        (cut(&|c| c.minimal.as_mut().unwrap().is_over = false), "resume"),
    ] {
        let proven = adopted(&advice);
        assert_eq!(
            (proven.minimality(), proven.settings().len()),
            (Minimality::NotAblated, 3)
        );
        assert!(!proven.is_minimal());
        let kind = serde_json::to_value(proven.next().unwrap()).unwrap();
        assert_eq!(kind["kind"], wanted);
    }
}

#[test]
fn what_is_not_confirmed_is_not_adopted_nor_confirmed_again() {
    let mut machine = Machine::new(bundle(3), two_useful, 0.01, 6);
    let (mut chain, _) = machine.night();
    machine.truth = nothing;
    let levels = chain.found[0].header.plan.treatments[1].levels.clone();
    let of = chain.asked;
    chain.confirmation = Some(machine.follow(&Next::Confirm { of, levels }));
    let Advice::Keep(kept) = advise(&chain).unwrap() else {
        panic!("adopted")
    };
    assert!(matches!(kept.why, Why::NotConfirmed { .. }), "{:?}", kept.why);
    assert_eq!(
        kept.baseline.levels,
        chain.found[0].header.plan.treatments[0].levels
    );
}

#[test]
fn the_baseline_stays_and_what_a_longer_run_could_show_is_told() {
    let little: Truth = |has| if has(0) { 0.012 } else { 0.0 };
    let (_, advice) = Machine::new(sweep(3, "one-at-a-time"), little, 0.02, 8).night();
    let Advice::Keep(kept) = advice else {
        panic!("{advice:?}")
    };
    let inconclusive = |why: &Why| {
        matches!(
            why,
            Why::NothingProven {
                reason: KeepReason::Inconclusive { .. },
                ..
            }
        )
    };
    assert!(inconclusive(&kept.why) && !kept.open.is_empty(), "{kept:?}");
    let provable = kept.provable_percent.unwrap();
    assert!((1.0..6.0).contains(&provable), "{provable}");
}

#[test]
fn a_run_without_numbers_recommends_nothing() {
    let mut machine = Machine::new(bundle(2), two_useful, 0.01, 9);
    let mut found = machine.run(Part::Whole, Purpose::Sweep);
    found.records = trials(&found.header, 12, |_, _| {
        Some(Outcome::Failed {
            stage: Stage::Measure,
            message: "no".into(),
        })
    });
    let Advice::Keep(kept) = advise(&chain(found.clone())).unwrap() else {
        panic!("adopted")
    };
    assert_eq!(kept.hardly_measured.len(), 1);
    found.records.clear();
    assert!(matches!(advise(&chain(found)).unwrap(), Advice::Keep(_)));
}

#[test]
fn a_setting_that_another_needs_goes_with_it() {
    // Native AIO is refused with a cache, so the cache goes together with it, and that leaves the baseline.
    let text = "[[treatment]]\nset = { \"domain.disk.cache\" = \"writeback\", \"domain.disk.io\" = \"threads\", \
                \"guest.thp\" = \"never\" }\n[[treatment]]\nset = { \"domain.disk.cache\" = \"none\", \
                \"domain.disk.io\" = \"native\", \"guest.thp\" = \"always\" }\n";
    let text = format!("{text}{END}[design]\nkind = \"a-b\"\nblocks = 12\n");
    let (chain, advice) = Machine::new(text, |has| if has(2) { 0.08 } else { 0.0 }, 0.01, 10).night();
    let ablation = chain.ablation.unwrap();
    let plan = &ablation.header.plan;
    let away: Vec<_> = plan
        .candidates()
        .map(|(_, t)| tunables(&settings(&plan.treatments[0], t)).join(" "))
        .collect();
    assert_eq!(
        away,
        ["domain.disk.cache domain.disk.io", "domain.disk.io", "guest.thp"]
    );
    assert_eq!(tunables(&adopted(&advice).settings()), ["guest.thp"]);
}

/// Prints a rate with its exact bounds, and gives it.
fn told(what: &str, hits: usize, of: usize) -> f64 {
    let (hits, of) = (u32::try_from(hits).unwrap(), u32::try_from(of).unwrap());
    let bounds = clopper_pearson(hits, of, Level::P95).unwrap();
    println!(
        "{what}: {:.2} % [{:.2}, {:.2}] of {of}",
        100.0 * f64::from(hits) / f64::from(of),
        100.0 * bounds.low,
        100.0 * bounds.high
    );
    f64::from(hits) / f64::from(of)
}

/// `--no-capture` shows the figures; docs/METHODOLOGY.md has those of `KVMTUNE_NIGHTS=20`, twenty times as many nights.
#[test]
fn the_whole_chain_keeps_its_promises() {
    let times = std::env::var("KVMTUNE_NIGHTS").map_or(1, |times| times.parse().unwrap());
    let nights = |name: &str, text: &str, truth: Truth, cv: f64, count: u64| {
        let count = times * count;
        let all = (0..count).map(|seed| Machine::new(text.into(), truth, cv, 1000 + seed).night().1);
        let mut caught = 0;
        let named: Vec<Proven> = all
            .filter_map(|advice| match advice {
                Advice::Adopt(proven) => Some(*proven),
                Advice::Keep(kept) => {
                    caught += usize::from(matches!(kept.why, Why::NotConfirmed { .. }));
                    None
                }
                Advice::Unfinished { .. } => None,
            })
            .collect();
        println!("{name}: {caught} were found and not confirmed");
        told(
            &format!("{name}: names a winner"),
            named.len(),
            usize::try_from(count).unwrap(),
        );
        named
    };
    // Nothing works: whatever is named is an error.
    let named = nights(
        "four settings without effect",
        &sweep(4, "one-at-a-time"),
        nothing,
        0.02,
        100,
    );
    // A sweep and its confirmation have to err in the same direction: 5 % of 2.5 % at most.
    assert!(named.len() as u64 <= times / 5, "{}", named.len());

    // Two of four work.
    let useful: Truth = |has| (if has(0) { 0.05 } else { 0.0 }) + if has(1) { 0.04 } else { 0.0 };
    let named = nights(
        "a bundle of two useful and two useless",
        &bundle(4),
        useful,
        0.02,
        100,
    );
    let is_useless = |tunable: &str| tunable != SETTINGS[0].0 && tunable != SETTINGS[1].0;
    let proves_useless = named.iter().filter(|proven| {
        let settings = proven.ablation().map_or(&[][..], |a| &a.settings);
        settings.iter().any(|s| s.stays() && is_useless(&s.setting.0))
    });
    let wrongly = told(
        "  holds a useless setting for needed",
        proves_useless.count(),
        named.len(),
    );
    assert!(wrongly <= 0.05, "{wrongly}");
    let has_useless = |proven: &&Proven| tunables(&proven.settings()).into_iter().any(is_useless);
    let burdened = told(
        "  has a useless setting in it",
        named.iter().filter(has_useless).count(),
        named.len(),
    );
    assert!(burdened <= 0.42, "{burdened}");
    let overclaims: Vec<f64> = named
        .iter()
        .map(|proven| {
            let truth = 100.0 * truth_of(useful, proven.treatment()).exp_m1();
            proven.comparison().primary().effect.gain_percent.unwrap() - truth
        })
        .collect();
    let mut sorted = overclaims.clone();
    sorted.sort_by(f64::total_cmp);
    let (middle, ninth) = (median(overclaims).unwrap(), sorted[sorted.len() * 9 / 10]);
    println!("  overclaim of the published gain: median {middle:+.2} %, nine of ten {ninth:+.2} %");
    assert!(middle.abs() <= 0.3, "{middle}");

    // The best of eight: what it was chosen for, raw and shrunk, against the truth.
    let some: Truth = |has| if has(0) { 0.03 } else { 0.0 };
    let named = nights(
        "every combination of three, one useful",
        &sweep(3, "full-factorial"),
        some,
        0.03,
        60,
    );
    let chosen = named
        .iter()
        .filter_map(|proven| Some((proven.selection()?, truth_of(some, proven.treatment()))));
    let (raw, shrunk): (Vec<f64>, Vec<f64>) = chosen
        .map(|(selection, truth)| {
            let truth = 100.0 * truth.exp_m1();
            (selection.gain_percent - truth, selection.shrunk_percent - truth)
        })
        .map(|(raw, shrunk)| (raw.abs(), shrunk.abs()))
        .unzip();
    let (raw, shrunk) = (median(raw).unwrap(), median(shrunk).unwrap());
    println!("  median |overclaim| of the selection estimate: raw {raw:.2} %, shrunk {shrunk:.2} %");
    assert!(shrunk < raw, "{shrunk} {raw}");
}
